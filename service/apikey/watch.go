package apikey

import (
	"context"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// settle gives a writer that truncates before it writes the time to finish.
	settle = 100 * time.Millisecond
	// poll is the net under the notifications, which network file systems and full tables do not send.
	poll = 30 * time.Second
)

// Watch watches folders and not the file, because a file that is replaced takes its watch with it. Every event in
// them counts: which name moves in a swap differs between the kubelet, an editor and mv, and a look costs little.
func (s *fileSource) Watch(ctx context.Context, changed func()) error {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		s.log.Warn("key file is only looked at now and then, since it cannot be watched", "path", s.path, "every", poll, "error", err)
		s.follow(ctx, changed, nil, nil, func() {})
		return nil
	}
	defer func() { _ = watcher.Close() }() // nothing to lose
	s.follow(ctx, changed, watcher.Events, watcher.Errors, func() { s.addFolders(watcher) })
	return nil
}

func (s *fileSource) follow(ctx context.Context, changed func(), events <-chan fsnotify.Event, errs <-chan error, add func()) {
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	add()
	changed()
	var settled <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-events:
			// The timer is not pushed back by later events: a busy folder would put the look off for ever.
			if settled == nil {
				settled = time.After(settle)
			}
		case _, open := <-errs:
			if !open {
				return
			}
			// The kernel dropped events; any of them may have been ours.
			add()
			changed()
		case <-settled:
			settled = nil
			add()
			changed()
		case <-ticker.C:
			add()
			changed()
		}
	}
}

// addFolders watches the folder of the path and the one that its links lead to. It is repeated after each change,
// because the second one moves with the links; adding twice does no harm, and what fails is left to the poll.
func (s *fileSource) addFolders(watcher *fsnotify.Watcher) {
	_ = watcher.Add(filepath.Dir(s.path))
	if target, err := filepath.EvalSymlinks(s.path); err == nil {
		_ = watcher.Add(filepath.Dir(target))
	}
}
