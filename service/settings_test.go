package service_test

import (
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
	"github.com/tallyd/tallyd/service/sandbox"
)

// sandboxWorld is the whole chain in front of a sandbox.
func sandboxWorld(t *testing.T, options ...sandbox.Option) (*world, *sandbox.Sandbox) {
	t.Helper()
	options = append(options, sandbox.WithRate(0), sandbox.WithKey("tly-0123456789abcdefghijABCDEFGHIJ01"))
	pretended, err := sandbox.New(options...)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(pretended.Handler())
	t.Cleanup(func() {
		server.Close()
		_ = pretended.Close()
	})
	w := &world{log: &lockedBuffer{}}
	w.start(t, newClient(t, server.URL), nil)
	w.dial(t)
	return w, pretended
}

// TestSettingsSurviveEitherReading changes one setting of a form against a Tally that merges settings and against one that replaces
// them: all others must be as they were, with both.
func TestSettingsSurviveEitherReading(t *testing.T) {
	for name, patch := range map[string]sandbox.SettingsPatch{"merge": sandbox.Merge, "replace": sandbox.Replace} {
		t.Run(name, func(t *testing.T) {
			w, _ := sandboxWorld(t, sandbox.WithSettingsPatch(patch))
			forms := tallydv1.NewFormServiceClient(w.conn)
			settings := func() *tallydv1.FormSettings {
				resp, err := forms.GetForm(t.Context(), &tallydv1.GetFormRequest{FormId: "Feedbk"})
				if err != nil {
					t.Fatalf("GetForm() = %v, want nil", err)
				}
				return resp.GetForm().GetSettings()
			}
			want := proto.CloneOf(settings())
			if len(want.GetOther().GetFields()) == 0 && want.Styles == nil {
				t.Fatal("the form has no settings that could be lost")
			}
			want.Language = new("fr")
			_, err := forms.UpdateForm(t.Context(), &tallydv1.UpdateFormRequest{
				FormId: "Feedbk", Settings: &tallydv1.FormSettings{Language: new("fr")}, UpdateMask: paths("settings.language"),
			})
			if err != nil {
				t.Fatalf("UpdateForm() = %v, want nil", err)
			}
			if diff := cmp.Diff(want, settings(), protocmp.Transform()); diff != "" {
				t.Errorf("settings after UpdateForm (-want +got):\n%s", diff)
			}
		})
	}
}
