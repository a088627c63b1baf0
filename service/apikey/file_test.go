package apikey

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func writeFile(t testing.TB, path, content string, mode fs.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	// The mask of the process must not decide what the test says.
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func link(t testing.TB, target, path string) {
	t.Helper()
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
}

func TestFileSource(t *testing.T) {
	secret := marker()
	file := func(content string, mode fs.FileMode) func(*testing.T, string) {
		return func(t *testing.T, path string) { writeFile(t, path, content, mode) }
	}
	tests := []struct {
		name     string
		make     func(t *testing.T, path string)
		wantRule string
		wantWarn bool
	}{
		{name: "plain", make: file(secret, 0o600)},
		{name: "newline", make: file(secret+"\n", 0o400)},
		{name: "windows newline", make: file(secret+"\r\n", 0o600)},
		{name: "readable by group", make: file(secret, 0o440)},
		{name: "readable by world", make: file(secret, 0o644), wantWarn: true},
		{name: "mounted secret", make: func(t *testing.T, path string) { mountSecret(t, path, secret) }, wantWarn: true},
		{name: "1 KiB", make: file(strings.Repeat("k", 1023)+"\n", 0o600)},
		{name: "empty", make: file("", 0o600), wantRule: "is empty"},
		{name: "only a newline", make: file("\n", 0o600), wantRule: "is empty"},
		{name: "over 1 KiB", make: file(secret+strings.Repeat("k", 1024), 0o600), wantRule: "is larger than 1 KiB"},
		{name: "1 MB", make: file(strings.Repeat(secret, 1<<20/len(secret)), 0o600), wantRule: "is larger than 1 KiB"},
		{name: "two lines", make: file(secret+"\n"+secret+"\n", 0o600), wantRule: "more than one line"},
		{name: "blank second line", make: file(secret+"\n\n", 0o600), wantRule: "more than one line"},
		{name: "blank first line", make: file("\n"+secret, 0o600), wantRule: "more than one line"},
		{name: "header", make: file("Bearer "+secret, 0o600), wantRule: "holds a space"},
		{name: "assignment with a nul", make: file(secret+"\x00", 0o600), wantRule: "not printable ASCII"},
		{name: "writable by group", make: file(secret, 0o660), wantRule: "is writable by its group or by others (mode 0660)"},
		{name: "writable by world", make: file(secret, 0o602), wantRule: "is writable by its group or by others (mode 0602)"},
		{name: "absent", make: func(*testing.T, string) {}, wantRule: "does not exist"},
		{name: "folder", make: func(t *testing.T, path string) { mkdir(t, path) }, wantRule: "is a directory"},
		{name: "loop", make: func(t *testing.T, path string) { link(t, path, path) }, wantRule: "is a loop of symbolic links"},
		{name: "dangling link", make: func(t *testing.T, path string) { link(t, path+".gone", path) }, wantRule: "does not exist"},
		{name: "named pipe", make: mkfifo, wantRule: "is not a regular file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "key")
			tt.make(t, path)
			var out bytes.Buffer
			source := FromFile(path, slog.New(slog.NewTextHandler(&out, nil)))
			key, err := source.Read()
			_, again := source.Read()
			if (err == nil) != (tt.wantRule == "") || (again == nil) != (err == nil) {
				t.Fatalf("Read() = %v, then %v, want %q", err, again, tt.wantRule)
			}
			if err != nil {
				wantFileError(t, err, path, tt.wantRule)
			} else if key.IsZero() {
				t.Error("Read() = the zero key, want one")
			}
			if got := strings.Count(out.String(), "can be read by every user"); got > 1 || (got == 1) != tt.wantWarn {
				t.Errorf("two reads warn %d times, want a warning: %v", got, tt.wantWarn)
			}
			wantNoMarker(t, "log", mustKey(t, secret), out.String())
		})
	}
}

func wantFileError(t *testing.T, err error, path, rule string) {
	t.Helper()
	var refused *FileError
	if !errors.As(err, &refused) || refused.Path != path {
		t.Errorf("Read() = %T, want a *FileError for the path", err)
	}
	if text := err.Error(); !strings.Contains(text, path) || !strings.Contains(text, rule) || strings.Contains(text, "\n") {
		t.Errorf("Read() = %q, want the path and %q in one line", text, rule)
	}
	if strings.Contains(err.Error(), "tly-") {
		t.Errorf("Read() = %q, want none of the content", err)
	}
}

func mkdir(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(path, 0o700); err != nil {
		t.Fatal(err)
	}
}

func mkfifo(t *testing.T, path string) {
	t.Helper()
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Skipf("no named pipes here: %v", err)
	}
}

// mountSecret lays a file out as the kubelet does: key -> ..data/key, ..data -> a folder with a date for a name.
func mountSecret(t *testing.T, path, content string) {
	t.Helper()
	folder := filepath.Dir(path)
	swapSecret(t, folder, "..2026_01", filepath.Base(path), content)
	link(t, filepath.Join("..data", filepath.Base(path)), path)
}

// swapSecret renews a mounted secret as the kubelet does: a new folder, a new link, one rename over the old link.
func swapSecret(t *testing.T, folder, version, name, content string) {
	t.Helper()
	old, _ := os.Readlink(filepath.Join(folder, "..data"))
	mkdir(t, filepath.Join(folder, version))
	writeFile(t, filepath.Join(folder, version, name), content, 0o644)
	link(t, version, filepath.Join(folder, "..data_tmp"))
	if err := os.Rename(filepath.Join(folder, "..data_tmp"), filepath.Join(folder, "..data")); err != nil {
		t.Fatal(err)
	}
	if old == "" {
		return
	}
	if err := os.RemoveAll(filepath.Join(folder, old)); err != nil {
		t.Fatal(err)
	}
}

func TestFileSourceHidesAKeyGivenAsAPath(t *testing.T) {
	key := mustKey(t, marker())
	_, err := FromFile(key.Reveal(), nil).Read()
	if err == nil {
		t.Fatal("Read() = nil, want an error")
	}
	wantNoMarker(t, "error", key, err.Error())
}

func TestFromEnv(t *testing.T) {
	const name = "APIKEY_TEST_ENV"
	tests := []struct {
		name    string
		value   string
		want    string
		wantErr error
	}{
		{name: "key", value: "tly-env", want: "tly-env"},
		{name: "newline", value: "tly-env\n", want: "tly-env"},
		{name: "unset", value: "", wantErr: ErrEmpty},
		{name: "two lines", value: "tly-env\ntly-env", wantErr: ErrTwoLines},
		{name: "space", value: "tly env", wantErr: ErrCharacter},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv(name, tt.value)
			source := FromEnv(name)
			key, err := source.Read()
			if !errors.Is(err, tt.wantErr) || key.Reveal() != tt.want {
				t.Errorf("Read() of %q = %q, %v, want %q, %v", tt.value, key.Reveal(), err, tt.want, tt.wantErr)
			}
			if err != nil && !strings.HasPrefix(err.Error(), "environment variable "+name+" ") {
				t.Errorf("Read() = %q, want the name of the variable first", err)
			}
			if left, set := os.LookupEnv(name); set {
				t.Errorf("variable is %q afterwards, want it unset", left)
			}
		})
	}
}

func FuzzKeyFile(f *testing.F) {
	for _, seed := range []string{"", "\n", "tly-key", "tly-key\n", "tly-key\r\n", "a\nb", "\ufeffkey", "key\x00", strings.Repeat("k", 1025)} {
		f.Add([]byte(seed))
	}
	path := filepath.Join(f.TempDir(), "key")
	// An error out of this closed list cannot repeat what the file holds.
	rules := []error{ErrEmpty, ErrTooLong, ErrTwoLines, ErrCharacter}
	f.Fuzz(func(t *testing.T, content []byte) {
		writeFile(t, path, string(content), 0o600)
		key, err := FromFile(path, nil).Read()
		if err != nil {
			var refused *FileError
			if !errors.As(err, &refused) || !slices.Contains(rules, refused.Err) {
				t.Fatalf("Read() of %q = %v, want one of %v", content, err, rules)
			}
			return
		}
		text := key.Reveal()
		if rest, found := strings.CutPrefix(string(content), text); !found || (rest != "" && rest != "\n" && rest != "\r\n") {
			t.Fatalf("Read() of %q = %q, want the content without its newline", content, text)
		}
		if parsed, err := ParseKey(text); err != nil || !parsed.Equal(key) {
			t.Fatalf("ParseKey(%q) = %v, want the key that was read", text, err)
		}
	})
}
