package apikey

import (
	"context"
	"fmt"
	"os"
)

// Source is a place that a key comes from.
type Source interface {
	// Read returns the key that the place holds now. Its error never repeats any of the content.
	Read() (Key, error)
	// Watch calls changed when the key may be another, once at the start too, and returns when ctx ends.
	// The function does not block.
	Watch(ctx context.Context, changed func()) error
}

type envSource struct {
	name string
	key  Key
	err  error
}

// FromEnv takes the key out of the environment variable of that name: the variable is unset, so that neither a child
// process nor a dump of the environment carries it. Reading gives ErrEmpty, ErrTooLong, ErrTwoLines or ErrCharacter,
// wrapped with the variable's name.
func FromEnv(name string) Source {
	s := &envSource{name: name}
	s.key, s.err = parseContent(os.Getenv(name))
	// It only fails for a name that no variable can have, and that one was read as empty.
	_ = os.Unsetenv(name)
	return s
}

func (s *envSource) Read() (Key, error) {
	if s.err != nil {
		return Key{}, fmt.Errorf("environment variable %s %w", s.name, s.err)
	}
	return s.key, nil
}

// Watch only waits: nobody can change the environment of a running process.
func (s *envSource) Watch(ctx context.Context, changed func()) error {
	changed()
	<-ctx.Done()
	return nil
}
