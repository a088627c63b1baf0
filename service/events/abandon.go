package events

import (
	"context"
	"log/slog"
	"time"

	logv1 "github.com/tallyd/tallyd/gen/tallyd/log/v1"
)

// abandoned tells of a form that nobody has watched for as long as its events are kept: nothing of it is left to lose.
func (k *Keeper) abandoned(f *logv1.Form) bool {
	return f.GetWatchTime() != nil && time.Since(f.GetWatchTime().AsTime()) > k.config.Retention && k.config.Hub.Watchers(f.GetFormId()) == 0
}

// abandon ends the log of a form, and its webhook. Where somebody comes to watch it meanwhile it stays known, and due: the next look at
// it finds what there is, and makes what is gone.
func (k *Keeper) abandon(ctx context.Context, f *logv1.Form) error {
	form, began := f.GetFormId(), time.Now()
	if id := f.GetWebhook().GetId(); id != "" && k.config.PublicURL != "" {
		if err := k.config.Upstream.RemoveWebhook(ctx, id); err != nil {
			return err
		}
		// Tally takes its time, above all at batch priority.
		f, err := k.config.Log.Form(ctx, form)
		if err != nil || !k.abandoned(f) {
			return err
		}
	}
	if err := k.config.Log.Remove(ctx, form); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.states[form].watched.After(began) {
		delete(k.states, form)
	}
	k.config.Logger.Info("the log of a form that nobody watches is closed", slog.String("form", form))
	return nil
}

// closed forgets a form whose log another replica has closed. To look after it would make its record and its webhook anew, which nobody
// watches and so nobody would ever abandon. Where somebody does watch it here, its log begins anew.
func (k *Keeper) closed(ctx context.Context, form string) {
	watchers := k.config.Hub.Watchers(form)
	k.mu.Lock()
	used := watchers > 0 || time.Since(k.states[form].watched) < k.noted()
	delete(k.states, form)
	k.mu.Unlock()
	if !used {
		return
	}
	if err := k.Watching(ctx, []string{form}); err != nil {
		if failed(err) {
			k.config.Logger.Warn("the log of a form that is watched cannot begin anew", slog.String("form", form), slog.String("error", err.Error()))
		}
		k.know(form, time.Time{}) // to be tried again
	}
}
