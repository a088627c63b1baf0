package events

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"log/slog"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	logv1 "github.com/tallyd/tallyd/gen/tallyd/log/v1"
)

const (
	hookGood = "ok"
	hookNone = "none"
	// secretSize is that of a secret in bytes.
	secretSize = 32
	// secretOverlap is how long a secret still counts that was replaced: Tally repeats a delivery for 31 h 35 m.
	secretOverlap = 32 * time.Hour
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

// register sees to it that Tally has exactly one webhook of ours for a form, and returns how it is.
func (k *Keeper) register(ctx context.Context, form string, hooks *hooks) (string, error) {
	if k.config.PublicURL == "" {
		return hookNone, nil
	}
	if hooks.err != nil {
		return "unknown", hooks.err
	}
	address := k.config.PublicURL + HookPath + form
	f, err := k.config.Log.UpdateForm(ctx, form, func(f *logv1.Form) bool { return ensureSecret(f, address) })
	if err != nil {
		return "unknown", err
	}
	wanted := Webhook{Form: form, URL: address, Secret: f.GetWebhook().GetSecrets()[0].GetValue(), Enabled: true}
	if found := hooks.find(f.GetWebhook().GetId(), address); found != nil {
		wanted.ID = found.ID
		if *found == wanted {
			return hookGood, k.setHook(ctx, form, wanted.ID)
		}
		k.config.Logger.Warn("a webhook of tallyd's is not as it was made: it is repaired", slog.String("form", form),
			slog.Bool("enabled", found.Enabled), slog.Bool("elsewhere", found.URL != address || found.Form != form))
	}
	id, err := k.config.Upstream.SetWebhook(ctx, wanted)
	if err != nil {
		return "missing or wrong", err
	}
	return hookGood, k.setHook(ctx, form, id)
}

// find returns the webhook with an id, else the one with an address: the one whose making nobody heard the end of.
func (h *hooks) find(id, address string) *Webhook {
	var found *Webhook
	for i, w := range h.all {
		switch {
		case w.ID == id:
			return &h.all[i]
		case w.URL == address && found == nil:
			found = &h.all[i]
		}
	}
	return found
}

// ensureSecret makes sure that a secret is kept before Tally learns it: no delivery may come that nobody can check.
func ensureSecret(f *logv1.Form, address string) bool {
	if f.GetWebhook().GetUrl() == address && len(f.GetWebhook().GetSecrets()) > 0 {
		return false
	}
	if f.GetWebhook() == nil {
		f.Webhook = &logv1.Webhook{}
	}
	f.Webhook.Url = address
	if len(f.GetWebhook().GetSecrets()) == 0 {
		secret := make([]byte, secretSize)
		_, _ = rand.Read(secret) // it never fails
		f.Webhook.Secrets = []*logv1.Secret{{Value: base64.RawURLEncoding.EncodeToString(secret)}}
	}
	return true
}

// setHook notes the id of a form's webhook.
func (k *Keeper) setHook(ctx context.Context, form, id string) error {
	_, err := k.config.Log.UpdateForm(ctx, form, func(f *logv1.Form) bool {
		if f.GetWebhook().GetId() == id {
			return false
		}
		f.Webhook.Id = id
		return true
	})
	return err
}

// RotateSecret gives the webhook of a form a new secret, which Tally learns with the next look at it. Deliveries that the old one signed
// count for as long as Tally repeats them. The error is that of the store.
func (k *Keeper) RotateSecret(ctx context.Context, form string) error {
	_, err := k.config.Log.UpdateForm(ctx, form, func(f *logv1.Form) bool {
		old := f.GetWebhook().GetSecrets()
		if len(old) == 0 {
			return false
		}
		old[0].ReplaceTime = timestamppb.Now()
		f.Webhook.Secrets = nil
		ensureSecret(f, f.GetWebhook().GetUrl())
		for _, s := range old {
			if time.Since(s.GetReplaceTime().AsTime()) < secretOverlap {
				f.Webhook.Secrets = append(f.Webhook.Secrets, s)
			}
		}
		return true
	})
	k.Check(form)
	return err
}

// Secrets returns the secrets that may have signed a delivery of a form. The error is that of the store.
func (l *Log) Secrets(ctx context.Context, form string) ([]string, error) {
	f, err := l.Form(ctx, form)
	if err != nil {
		return nil, err
	}
	var secrets []string
	for _, s := range f.GetWebhook().GetSecrets() {
		if s.GetReplaceTime() == nil || time.Since(s.GetReplaceTime().AsTime()) < secretOverlap {
			secrets = append(secrets, s.GetValue())
		}
	}
	return secrets, nil
}
