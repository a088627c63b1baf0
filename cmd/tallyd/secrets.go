package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/tallyd/tallyd/service/events"
)

// signingSecrets returns what tells of the secrets that may have signed a delivery: tallyd's own and those of a file, if there is one.
func signingSecrets(log *events.Log, path string) func(context.Context, string, bool) ([]string, error) {
	file := &secretFile{path: path}
	return func(ctx context.Context, form string, fresh bool) ([]string, error) {
		secrets, err := log.KnownSecrets(ctx, form, fresh)
		if err != nil || path == "" {
			return secrets, err
		}
		lines, err := file.read()
		if err != nil {
			return nil, fmt.Errorf("--webhook-secret-file: %w", err)
		}
		secrets = append([]string(nil), secrets...) // which others read as well
		for _, line := range lines {
			if len(line) == 1 || line[0] == form {
				secrets = append(secrets, line[len(line)-1])
			}
		}
		return secrets, nil
	}
}

// secretFile is a file of secrets, read when it is another one than before.
type secretFile struct {
	path string

	mu    sync.Mutex
	info  os.FileInfo // when it was read
	lines [][]string
}

// sameTime is longer than file systems give changes the same time: a file that was changed just now may change again unnoticed.
const sameTime = time.Second

// read returns the words of the lines that say a secret: one, or a form and one.
func (f *secretFile) read() ([][]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	info, err := os.Stat(f.path)
	if err != nil {
		return nil, err
	}
	if f.info != nil && os.SameFile(info, f.info) && info.ModTime().Equal(f.info.ModTime()) && info.Size() == f.info.Size() {
		return f.lines, nil
	}
	text, err := os.ReadFile(f.path)
	if err != nil {
		return nil, err
	}
	f.lines = nil
	for line := range strings.Lines(string(text)) {
		if words := strings.Fields(line); len(words) == 1 || len(words) == 2 {
			f.lines = append(f.lines, words)
		}
	}
	f.info = nil
	if time.Since(info.ModTime()) > sameTime {
		f.info = info
	}
	return f.lines, nil
}
