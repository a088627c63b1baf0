package sandbox

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestToSchema(t *testing.T) {
	for _, tc := range []struct{ name, html, want string }{
		{"empty", ``, `[]`},
		{"plain", `Hello`, `[["Hello"]]`},
		{"entities stay", `a &amp; b&nbsp;`, `[["a \u0026amp; b\u0026nbsp;"]]`},
		{"bold", `a <b>b</b> c`, `[["a "],["b",[["font-weight","bold"]]],[" c"]]`},
		{"strong", `<strong>b</strong>`, `[["b",[["font-weight","bold"]]]]`},
		{"italic", `<i>x</i><em>y</em>`, `[["x",[["font-style","italic"]]],["y",[["font-style","italic"]]]]`},
		{"underline", `<u>x</u>`, `[["x",[["text-decoration","underline"]]]]`},
		{"nested", `<b>a<i>b</i></b>`, `[["a",[["font-weight","bold"]]],["b",[["font-weight","bold"],["font-style","italic"]]]]`},
		{"link", `<a href="https://example.com?a=1&amp;b=2">x</a>`, `[["x",[["href","https://example.com?a=1\u0026b=2"]]]]`},
		{"link in single quotes", `<a class='l' href='https://example.com'>x</a>`, `[["x",[["href","https://example.com"]]]]`},
		{"link without quotes", `<a href=/x target=_blank>x</a>`, `[["x",[["href","/x"]]]]`},
		{"break", `a<br>b<br/>c`, `[["a"],["",[["tag","br"]]],["b"],["",[["tag","br"]]],["c"]]`},
		{"division", `a<div>b</div>`, `[["a"],["b",[["tag","div"]]]]`},
		{"styled span", `<span style="color: red; font-weight:bold">x</span>`, `[["x",[["tag","span"],["color","red"],["font-weight","bold"]]]]`},
		{"mention", `Hi <span class="mention" data-uuid="u-1">@name</span>!`, `[["Hi "],["@name",[["tag","span"],["mention","u-1"]]],["!"]]`},
		{"unknown tag", `<h1>Big</h1>`, `[["Big"]]`},
		{"unknown tag around a known one", `<h1>Big <b>deal</b></h1>`, `[["Big "],["deal",[["font-weight","bold"]]]]`},
		{"never opened", `a</b>c`, `[["a"],["c"]]`},
		{"never closed", `<b>a`, `[["a",[["font-weight","bold"]]]]`},
		{"closed in the wrong order", `<b><i>a</b>c</i>`, `[["a",[["font-weight","bold"],["font-style","italic"]]],["c"]]`},
		{"unfinished tag", `a <b`, `[["a "]]`},
		{"a lone sign", `1 > 0`, `[["1 \u003e 0"]]`},
		{"upper case", `<B>x</B>`, `[["x",[["font-weight","bold"]]]]`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := json.Marshal(toSchema(tc.html))
			if err != nil || string(got) != tc.want {
				t.Errorf("toSchema(%q) = %s (%v), want %s", tc.html, got, err, tc.want)
			}
		})
	}
}

func TestPlainText(t *testing.T) {
	for _, tc := range []struct {
		name   string
		schema any
		want   string
	}{
		{"nil", nil, ""},
		{"not a list", "x", ""},
		{"segments", toSchema("Tea <b>&amp; cake</b>"), "Tea & cake"},
		{"hard spaces", toSchema("&nbsp;a&nbsp;b&nbsp;"), "a b"},
		{"odd segments", []any{7, []any{}, []any{7}, []any{"x"}}, "x"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := plainText(tc.schema); got != tc.want {
				t.Errorf("plainText(%v) = %q, want %q", tc.schema, got, tc.want)
			}
		})
	}
}

func TestDeepMarkupIsBounded(t *testing.T) {
	schema := toSchema(strings.Repeat("<b>", 10000) + "x")
	attrs := schema[0].([]any)[1].([]any)
	if len(attrs) > 40 {
		t.Errorf("toSchema(10000 tags) has %d attributes, want at most 40", len(attrs))
	}
}

func TestReadPayload(t *testing.T) {
	for _, tc := range []struct{ name, kind, written, want string }{
		{"title", "FORM_TITLE", `{"html":"<b>Hi</b>"}`, `{"safeHTMLSchema":[["Hi",[["font-weight","bold"]]]],"title":"Hi"}`},
		{"title over the written one", "FORM_TITLE", `{"html":"Hi","title":"Other"}`, `{"safeHTMLSchema":[["Hi"]],"title":"Hi"}`},
		{"title without html", "FORM_TITLE", `{"title":"Only"}`, `{"title":"Only"}`},
		{"text", "TEXT", `{"html":"Hi"}`, `{"safeHTMLSchema":[["Hi"]]}`},
		{"schema", "TEXT", `{"safeHTMLSchema":[["Hi"]]}`, `{"safeHTMLSchema":[["Hi"]]}`},
		{"mentions stay", "TEXT", `{"html":"Hi","mentions":[]}`, `{"mentions":[],"safeHTMLSchema":[["Hi"]]}`},
		{"null html", "TEXT", `{"html":null}`, `{"html":null}`},
		{"no text", "RATING", `{"stars":7}`, `{"stars":7}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := json.Marshal(readPayload(tc.kind, parsed(t, tc.written).(map[string]any)))
			if err != nil || string(got) != tc.want {
				t.Errorf("readPayload(%s) = %s (%v), want %s", tc.written, got, err, tc.want)
			}
		})
	}
}

// FuzzHTML only wants the parser to come back with its text whole.
func FuzzHTML(f *testing.F) {
	for _, seed := range []string{"<b>a</b>", "<span class=\"mention\" data-uuid=u>@x</span>", "<a href='", "</", "<>", "<br/><BR >"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, source string) {
		if words := plainText(toSchema(source)); strings.Contains(source, "<") && len(words) > len(source) {
			t.Errorf("plainText(%q) = %q, want no more than the source", source, words)
		}
	})
}
