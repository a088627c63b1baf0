package events

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"slices"
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
		f.Webhook.Secrets = []*logv1.Secret{newSecret(time.Now())}
	}
	return true
}

func newSecret(now time.Time) *logv1.Secret {
	secret := make([]byte, secretSize)
	_, _ = rand.Read(secret) // it never fails
	return &logv1.Secret{Value: base64.RawURLEncoding.EncodeToString(secret), CreateTime: timestamppb.New(now)}
}

// renewSecrets puts a new secret before one that has reached an age, 0 for never, and forgets those whose time is over. The time of one
// that was replaced does not run as long as Tally uses it. It reports whether it changed anything.
func renewSecrets(w *logv1.Webhook, now time.Time, age time.Duration, used string) bool {
	changed := false
	newest := w.GetSecrets()[0]
	if newest.GetCreateTime() == nil {
		newest.CreateTime, changed = timestamppb.New(now), true
	}
	for _, s := range w.GetSecrets()[1:] {
		if s.GetValue() == used {
			s.ReplaceTime, changed = timestamppb.New(now), true
		}
	}
	n := len(w.GetSecrets())
	w.Secrets = slices.DeleteFunc(w.GetSecrets(), func(s *logv1.Secret) bool { return !counts(s, now) })
	changed = changed || len(w.GetSecrets()) < n
	if age > 0 && now.Sub(newest.GetCreateTime().AsTime()) >= age {
		newest.ReplaceTime, changed = timestamppb.New(now), true
		w.Secrets = slices.Insert(w.GetSecrets(), 0, newSecret(now))
	}
	return changed
}

// counts tells whether a secret may still have signed a delivery.
func counts(s *logv1.Secret, now time.Time) bool {
	return s.GetReplaceTime() == nil || now.Sub(s.GetReplaceTime().AsTime()) < secretOverlap
}

// Secrets returns the secrets that may have signed a delivery of a form. The error is that of the store.
func (l *Log) Secrets(ctx context.Context, form string) ([]string, error) {
	f, err := l.Form(ctx, form)
	if err != nil {
		return nil, err
	}
	var secrets []string
	for _, s := range f.GetWebhook().GetSecrets() {
		if counts(s, time.Now()) {
			secrets = append(secrets, s.GetValue())
		}
	}
	return secrets, nil
}
