package sandbox

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// assumptions are the behaviours of which nobody knows what Tally does, and
// the ways in which the sandbox can play each; the first is what it does
// unless told.
var assumptions = map[string][]way{
	"settings-patch": {{"merge", WithSettingsPatch(Merge)}, {"replace", WithSettingsPatch(Replace)}},
	"revoked-key": {
		{"401", WithRevokedKeyStatus(http.StatusUnauthorized)},
		{"403", WithRevokedKeyStatus(http.StatusForbidden)},
		{"404", WithRevokedKeyStatus(http.StatusNotFound)},
	},
	"trashed-form": {
		{"404", WithTrashedFormStatus(http.StatusNotFound)},
		{"401", WithTrashedFormStatus(http.StatusUnauthorized)},
		{"403", WithTrashedFormStatus(http.StatusForbidden)},
	},
	"choice-labels": {{"labels", func(*options) {}}, {"ids", WithChoiceIDs()}},
	"rate-limit":    {{"bare", func(*options) {}}, {"retry-after", WithRetryAfter()}},
}

type way struct {
	name   string
	option Option
}

// Assume plays the behaviour with the given id in another way than usual, such
// as "settings-patch" in the way "replace". It returns an error that names the
// choices when there is no such behaviour or way.
func Assume(id, name string) (Option, error) {
	ways, ok := assumptions[id]
	if !ok {
		return nil, fmt.Errorf("no choice is known for %q; there is one for %s", id, strings.Join(slices.Sorted(maps.Keys(assumptions)), ", "))
	}
	names := make([]string, 0, len(ways))
	for _, w := range ways {
		if w.name == name {
			return w.option, nil
		}
		names = append(names, w.name)
	}
	return nil, fmt.Errorf("%s must be one of %s, not %q", id, strings.Join(names, ", "), name)
}
