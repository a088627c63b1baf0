package events

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	logv1 "github.com/tallyd/tallyd/gen/tallyd/log/v1"
)

const (
	// secretSize is that of a secret in bytes.
	secretSize = 32
	// secretOverlap is how long a secret still counts that was replaced: Tally repeats a delivery for 31 h 35 m.
	secretOverlap = 32 * time.Hour
)

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
