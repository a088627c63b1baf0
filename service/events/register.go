package events

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	logv1 "github.com/tallyd/tallyd/gen/tallyd/log/v1"
)

const (
	hookGood    = "ok"
	hookNone    = "none"
	hookUnknown = "unknown"
	hookWrong   = "missing or wrong"
	hookClaimed = "about to be made"
	// createTime bounds how long it takes to make a webhook, with the wait for its turn, and claimTime is how long nobody else makes
	// one: longer, so that one whose end nobody heard is on the list by then. A process that dies meanwhile delays it by as much.
	createTime = time.Minute
	claimTime  = 2 * time.Minute
)

// hooks are the account's webhooks, read once for all forms that are due.
type hooks struct {
	all []Webhook
	err error
}

// hooks reads the account's webhooks, where tallyd keeps any.
func (k *Keeper) hooks(ctx context.Context) *hooks {
	if k.config.PublicURL == "" {
		return &hooks{}
	}
	all, err := k.config.Upstream.Webhooks(ctx)
	return &hooks{all: all, err: err}
}

// ours returns our webhooks of a form, first the one that its record names, else the first with its address: the one whose making nobody
// heard the end of. Tally refuses the list until the account has its first webhook; where one was made it has no such excuse.
func (h *hooks) ours(f *logv1.Form, address string) (ours []Webhook, err error) {
	id := f.GetWebhook().GetId()
	if errors.Is(h.err, ErrListRefused) && id == "" {
		return nil, nil
	}
	for _, w := range h.all {
		switch {
		case w.ID == id:
			ours = slices.Insert(ours, 0, w)
		case w.URL == address:
			ours = append(ours, w)
		}
	}
	return ours, h.err
}

// wanted is the webhook of a form as it should be.
func wanted(f *logv1.Form, address string) Webhook {
	return Webhook{Form: f.GetFormId(), URL: address, Secret: f.GetWebhook().GetSecrets()[0].GetValue(), Enabled: true}
}

// register sees to it that Tally has exactly one webhook of ours for a form, and returns how it is.
func (k *Keeper) register(ctx context.Context, form string, list func() *hooks) (string, error) {
	if k.config.PublicURL == "" {
		return hookNone, nil
	}
	address := k.config.PublicURL + HookPath + form
	f, err := k.config.Log.UpdateForm(ctx, form, func(f *logv1.Form) bool {
		return f.GetBeginTime() != nil && ensureSecret(f, address)
	})
	if err != nil {
		return hookUnknown, err
	}
	if f.GetBeginTime() == nil {
		return hookNone, nil // another replica has closed it
	}
	ours, err := list().ours(f, address)
	switch {
	case err != nil:
		return hookUnknown, err
	case len(ours) == 0:
		return k.create(ctx, form, address)
	default:
		return k.keepOne(ctx, form, address, ours)
	}
}

// create makes a webhook of a form that has none, unless another replica is about to: Tally takes a second one with the same address for
// another one, and delivers to both.
func (k *Keeper) create(ctx context.Context, form, address string) (string, error) {
	var claimed bool
	f, err := k.config.Log.UpdateForm(ctx, form, func(f *logv1.Form) bool {
		claimed = f.GetBeginTime() != nil && claim(f, time.Now())
		return claimed
	})
	if err != nil {
		return hookUnknown, err
	}
	if !claimed {
		return hookClaimed, nil
	}
	limited, cancel := context.WithTimeout(ctx, createTime)
	defer cancel()
	// Another replica may have made it after the list was read and before the claim.
	ours, err := k.hooks(limited).ours(f, address)
	if err != nil {
		return hookUnknown, err
	}
	if len(ours) > 0 {
		return k.keepOne(ctx, form, address, ours)
	}
	id, err := k.config.Upstream.SetWebhook(limited, wanted(f, address))
	if err != nil {
		return hookWrong, err // whether it was made nobody knows: the claim stays until it must be on the list
	}
	_, err = k.setHook(ctx, f, id)
	return hookGood, err
}

// claim notes that this process makes the webhook of a form, where none does.
func claim(f *logv1.Form, now time.Time) bool {
	if t := f.GetClaimTime(); t != nil && now.Sub(t.AsTime()).Abs() < claimTime {
		return false
	}
	f.ClaimTime = timestamppb.New(now)
	return true
}

// keepOne makes the first of a form's webhooks what it should be, and takes the others away.
func (k *Keeper) keepOne(ctx context.Context, form, address string, ours []Webhook) (string, error) {
	found := ours[0]
	f, err := k.config.Log.UpdateForm(ctx, form, func(f *logv1.Form) bool {
		return len(f.GetWebhook().GetSecrets()) > 0 && renewSecrets(f.GetWebhook(), time.Now(), k.config.SecretAge, found.Secret)
	})
	if err != nil {
		return hookUnknown, err
	}
	if len(f.GetWebhook().GetSecrets()) == 0 {
		return hookNone, nil // another replica has closed it
	}
	wanted := wanted(f, address)
	wanted.ID = found.ID
	if found != wanted {
		k.tellRepair(f, found, wanted)
		if _, err := k.config.Upstream.SetWebhook(ctx, wanted); err != nil {
			return hookWrong, err
		}
	}
	kept, err := k.setHook(ctx, f, wanted.ID)
	if err != nil || !kept {
		return hookGood, err // where another replica keeps another one, it is the one to choose
	}
	for _, w := range ours[1:] {
		k.config.Logger.Warn("a form has a second webhook of tallyd's: it is removed", slog.String("form", form))
		if err := k.config.Upstream.RemoveWebhook(ctx, w.ID); err != nil {
			return hookGood, err
		}
	}
	return hookGood, nil
}

// tellRepair says why a webhook is changed.
func (k *Keeper) tellRepair(f *logv1.Form, found, wanted Webhook) {
	old := func(s *logv1.Secret) bool { return s.GetValue() == found.Secret }
	if slices.ContainsFunc(f.GetWebhook().GetSecrets()[1:], old) && found.Enabled && found.URL == wanted.URL && found.Form == wanted.Form {
		k.config.Logger.Info("the webhook of a form gets a new secret", slog.String("form", f.GetFormId()))
		return
	}
	k.config.Logger.Warn("a webhook of tallyd's is not as it was made: it is repaired", slog.String("form", f.GetFormId()),
		slog.Bool("enabled", found.Enabled), slog.Bool("elsewhere", found.URL != wanted.URL || found.Form != wanted.Form))
}

// setHook notes the id of a form's webhook and that nobody makes one, unless another id was noted since the form was read. It reports
// whether the id is the one that is noted.
func (k *Keeper) setHook(ctx context.Context, read *logv1.Form, id string) (bool, error) {
	was := read.GetWebhook().GetId()
	f, err := k.config.Log.UpdateForm(ctx, read.GetFormId(), func(f *logv1.Form) bool {
		known := f.GetWebhook().GetId()
		if f.GetWebhook() == nil || known != was && known != id || known == id && f.GetClaimTime() == nil {
			return false
		}
		f.Webhook.Id, f.ClaimTime = id, nil
		return true
	})
	return err == nil && f.GetWebhook().GetId() == id, err
}
