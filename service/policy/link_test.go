package policy

import "testing"

// TestLinks holds which texts of answers may hold a link to a file.
func TestLinks(t *testing.T) {
	tests := []struct {
		name, text string
		want       bool
	}{
		{"file", `[{"name":"cv.pdf","url":"https://storage.tally.so/private/cv.pdf?accessToken=x"}]`, true},
		{"escaped slashes", `[{"url":"https:\/\/storage.tally.so\/x"}]`, true},
		{"escaped in full", `[{"url":"https\u003A\u002f\u002Fstorage.tally.so/x"}]`, true},
		{"for people", `https://storage.tally.so/private/cv.pdf`, true},
		{"a link that the respondent wrote", `"https://example.com"`, false},
		{"a link to Tally at the top", `"https://storage.tally.so/private/x"`, true},
		{"no link", `["a:b","c\\d"]`, false},
		{"nothing", ``, false},
	}
	for _, test := range tests {
		if got := holdsLink(test.text); got != test.want {
			t.Errorf("%s: holdsLink(%q) = %v, want %v", test.name, test.text, got, test.want)
		}
	}
}
