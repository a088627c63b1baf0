package events

import (
	"context"
	"time"
)

// secretsFor is how long secrets count that were read once: reading them takes as long as all else of a delivery but the log. What this
// process changes counts at once.
const secretsFor = time.Minute

// readSecrets are secrets of a form as they were at a time.
type readSecrets struct {
	secrets []string
	at      time.Time
}

// KnownSecrets is Secrets from memory, unless they must be fresh: one that signed nothing may have been replaced by another process.
func (l *Log) KnownSecrets(ctx context.Context, form string, fresh bool) ([]string, error) {
	if known, found := l.secrets.Load(form); found && !fresh && time.Since(known.(readSecrets).at) < secretsFor {
		return known.(readSecrets).secrets, nil
	}
	now := time.Now()
	secrets, err := l.Secrets(ctx, form)
	if err == nil && len(secrets) > 0 { // else strangers could fill the memory with forms that do not exist
		l.secrets.Store(form, readSecrets{secrets, now})
	}
	return secrets, err
}
