package sandbox

import (
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestSeedSize(t *testing.T) {
	s := start(t).s
	forms, submissions, kinds := 0, 0, map[string]bool{}
	for _, f := range s.state.forms {
		if f.organizationID != "orgSal" {
			continue
		}
		forms++
		submissions += len(f.submissions)
		for _, q := range f.questions {
			kinds[q.kind] = true
		}
	}
	if forms != 12 || submissions != 5000 {
		t.Errorf("seed = %d forms with %d submissions, want 12 with 5000", forms, submissions)
	}
	for _, kind := range append([]string{"MULTIPLE_CHOICE", "CHECKBOXES", "DROPDOWN", "RANKING", "MULTI_SELECT"}, inputKinds...) {
		if !kinds[kind] {
			t.Errorf("no form asks a question of type %s", kind)
		}
	}
}

func TestSeedIDsAreUnique(t *testing.T) {
	st := start(t).s.state
	seen := map[string]string{}
	note := func(kind, id string) {
		t.Helper()
		if old, taken := seen[id]; taken || len(id) < 6 {
			t.Errorf("%s has the id %q of a %s, want its own of six characters or more", kind, id, old)
		}
		seen[id] = kind
	}
	for _, f := range st.forms {
		note("form", f.id)
		for _, q := range f.questions {
			note("question", q.id)
		}
		for _, sub := range f.submissions {
			note("submission", sub.id)
		}
		for _, b := range f.blocks {
			note("block", b.UUID)
		}
	}
	for _, u := range st.users {
		note("user", u.id)
	}
	for _, w := range st.workspaces {
		note("workspace", w.id)
	}
	for _, w := range st.webhooks {
		note("webhook", w.ID)
		for _, e := range w.events {
			note("event", e.id)
		}
	}
}

// tallyd starts with its sandbox: submissions must be made when they are read.
func TestSeedIsCheap(t *testing.T) {
	allocations := testing.AllocsPerRun(1, func() {
		s, err := New()
		if err != nil {
			t.Fatalf("New() = %v, want no error", err)
		}
		s.Close()
	})
	if allocations > 20000 {
		t.Errorf("New() allocates %v times, want about 11000", allocations)
	}
}

func TestSeedNamesNoRealHost(t *testing.T) {
	for _, host := range regexp.MustCompile(`(https?://|@)([a-zA-Z0-9.-]+\.[a-z]+)`).FindAllStringSubmatch(string(builtIn), -1) {
		if !strings.HasSuffix(host[2], "example.com") {
			t.Errorf("seed names %s, want addresses under example.com only", host[2])
		}
	}
}

// Every id that the documents may quote must be in the list of them.
func TestSeedIsDocumented(t *testing.T) {
	doc, err := os.ReadFile("SEED.md")
	if err != nil {
		t.Fatalf("ReadFile() = %v, want no error", err)
	}
	st := start(t).s.state
	var ids []string
	for _, o := range st.organizations {
		ids = append(ids, o.id)
		for _, in := range o.invites {
			ids = append(ids, in.id)
		}
	}
	for _, u := range st.users {
		ids = append(ids, u.id)
	}
	for _, w := range st.workspaces {
		ids = append(ids, w.id)
		for _, f := range w.folders {
			ids = append(ids, f.ID)
		}
	}
	for _, w := range st.webhooks {
		ids = append(ids, w.ID)
	}
	for key := range st.keys {
		ids = append(ids, key)
	}
	for _, id := range ids {
		if !strings.Contains(string(doc), "`"+id+"`") {
			t.Errorf("SEED.md does not mention `%s`", id)
		}
	}
	for _, f := range st.forms {
		row := "| `" + f.id + "` |"
		i := strings.Index(string(doc), row)
		if i < 0 {
			t.Errorf("SEED.md has no row %q", row)
			continue
		}
		line, _, _ := strings.Cut(string(doc)[i:], "\n")
		if want := "| " + strconv.Itoa(len(f.submissions)) + " |"; !strings.Contains(line, want) || !strings.Contains(line, "`"+f.workspaceID+"`") {
			t.Errorf("SEED.md says %q, want it to hold %q and the workspace", line, want)
		}
	}
}

const tinySeed = `{"organizations":[{"id":"orgOne","plan":"PRO",
	"users":[{"id":"usrOne","firstName":"A","lastName":"B","email":"a@example.com","createdAt":"2026-01-01T00:00:00Z"}],
	"workspaces":[{"id":"wsOnly","name":"W","members":["usrOne"],"createdAt":"2026-01-01T00:00:00Z"}],
	"forms":[{"id":"frmOne","name":"F","workspaceId":"wsOnly","status":"PUBLISHED",
		"createdAt":"2026-01-01T00:00:00Z","updatedAt":"2026-01-01T00:00:00Z",
		"items":[{"type":"INPUT_TEXT","title":"Colour","samples":["teal"],"required":true}],
		"submissions":{"count":4,"partial":1,"from":"2026-01-01T00:00:00Z","to":"2026-01-05T00:00:00Z"}}]}]}`

func writeSeed(t *testing.T, source string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "seed.json")
	if err := os.WriteFile(path, []byte(source), 0o600); err != nil {
		t.Fatalf("WriteFile() = %v, want no error", err)
	}
	return path
}

func TestSeedFile(t *testing.T) {
	b := start(t, WithSeedFile(writeSeed(t, tinySeed)))
	b.do("GET /users/me").want(200).wantAt("id", "usrOne").wantAt("subscriptionPlan", "PRO")
	b.do("GET /forms").want(200).wantAt("total", 1.0)
	a := b.do("GET /forms/frmOne/submissions").want(200).wantAt("submissions.#", 4).wantAt("totalNumberOfSubmissionsPerFilter.partial", 1.0)
	a.wantAt("submissions.0.responses.0.answer", "teal")
	b.do("GET /webhooks").want(401)
	b.as("tly-sandbox-other").do("GET /users/me").want(401)
}

func TestSeedFileErrors(t *testing.T) {
	if _, err := New(WithSeedFile(filepath.Join(t.TempDir(), "none.json"))); err == nil || !strings.HasPrefix(err.Error(), "read seed: ") {
		t.Errorf("New(missing seed) = %v, want read seed: ...", err)
	}
	for _, tc := range []struct{ name, old, new, want string }{
		{"no JSON", `{"organizations"`, `{organizations`, "invalid character"},
		{"unknown key", `"plan":"PRO"`, `"plan":"PRO","size":9`, `unknown field "size"`},
		{"no organizations", `{"organizations":[`, `{"organizations":[]}#`, "it has no organizations"},
		{"unknown member", `"members":["usrOne"]`, `"members":["usrTwo"]`, `workspace "wsOnly": member "usrTwo" is not in the seed`},
		{"no plan", `"plan":"PRO"`, `"plan":"GOLD"`, `organization "orgOne": it needs users and a plan (FREE, PRO, BUSINESS)`},
		{"unknown workspace", `"workspaceId":"wsOnly"`, `"workspaceId":"wsNone"`, `form "frmOne": workspace "wsNone" is not in the seed`},
		{"unknown type", `"type":"INPUT_TEXT"`, `"type":"INPUT_URL"`, `form "frmOne": item 0: type "INPUT_URL" is not a block type`},
		{"bad payload", `"title":"Colour"`, `"title":"Colour","payload":[]`, `form "frmOne": item 0: payload: `},
		{"unknown form of a webhook", `"forms":`, `"webhooks":[{"id":"w","formId":"frmTwo"}],"forms":`, `webhook "w": form "frmTwo" is not in the seed`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := New(WithSeedFile(writeSeed(t, strings.Replace(tinySeed, tc.old, tc.new, 1))))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("New() = %v, want %s", err, tc.want)
			}
		})
	}
}

func TestResetReportsALostSeed(t *testing.T) {
	path := writeSeed(t, tinySeed)
	b := start(t, WithSeedFile(path))
	if err := os.Remove(path); err != nil {
		t.Fatalf("Remove() = %v, want no error", err)
	}
	if err := b.s.Reset(); err == nil {
		t.Errorf("Reset() = nil, want an error")
	}
	b.do("POST /_sandbox/reset").want(500)
	b.do("GET /forms").want(200).wantAt("total", 1.0)
}

// The sandbox shares nothing with what it is to test, nor with anybody else.
func TestImportsStandardLibraryOnly(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatalf("Glob() = %v, want no error", err)
	}
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatalf("ParseFile(%q) = %v, want no error", file, err)
		}
		for _, spec := range parsed.Imports {
			if path := strings.Trim(spec.Path.Value, `"`); strings.Contains(strings.Split(path, "/")[0], ".") {
				t.Errorf("%s imports %s, want the standard library only", file, path)
			}
		}
	}
}

func TestRefsLeadToBlocks(t *testing.T) {
	st := start(t).s.state
	f := st.form("QuizMe")
	var uuids []string
	for _, b := range f.blocks {
		uuids = append(uuids, b.UUID, b.GroupUUID)
	}
	for _, b := range f.blocks {
		if b.Type != "CONDITIONAL_LOGIC" {
			continue
		}
		for _, path := range []string{"conditionals.0.payload.field.uuid", "conditionals.0.payload.value", "actions.0.payload.showBlocks.0"} {
			if id, _ := walk(t, any(b.Payload), path).(string); !slices.Contains(uuids, id) {
				t.Errorf("%s = %q, want a block or group of the form", path, id)
			}
		}
	}
}
