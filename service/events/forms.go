package events

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"

	logv1 "github.com/tallyd/tallyd/gen/tallyd/log/v1"
	"github.com/tallyd/tallyd/service/store"
)

const formKey = "form."

// Form returns what is known of a form; an empty message of one without a log.
func (l *Log) Form(ctx context.Context, form string) (*logv1.Form, error) {
	f, _, err := l.formRecord(ctx, form)
	return f, err
}

func (l *Log) formRecord(ctx context.Context, form string) (*logv1.Form, store.Record, error) {
	r, err := l.store.Get(ctx, formKey+form)
	if err != nil {
		return nil, r, err
	}
	f := &logv1.Form{}
	if err := proto.Unmarshal(r.Value, f); err != nil {
		return nil, r, fmt.Errorf("what is known of form %s is damaged: %w", form, err)
	}
	f.FormId = form
	return f, r, nil
}

// UpdateForm changes what is known of a form. change may be called more than once, each time with what is known then; it reports whether
// it changed anything.
func (l *Log) UpdateForm(ctx context.Context, form string, change func(*logv1.Form) bool) (*logv1.Form, error) {
	for {
		f, r, err := l.formRecord(ctx, form)
		if err != nil || !change(f) {
			return f, err
		}
		if r.Value, err = proto.Marshal(f); err != nil {
			return nil, err
		}
		_, err = l.store.Put(ctx, r)
		l.secrets.Delete(form)
		if !errors.Is(err, store.ErrConflict) {
			return f, err
		}
	}
}

// Forms returns the forms with a log.
func (l *Log) Forms(ctx context.Context) ([]string, error) {
	keys, err := l.store.Keys(ctx, formKey+"*")
	for i := range keys {
		keys[i] = strings.TrimPrefix(keys[i], formKey)
	}
	return keys, err
}
