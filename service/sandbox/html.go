package sandbox

import (
	"html"
	"slices"
	"strings"
)

// segment is one run of text with its attributes.
type segment struct {
	text  string
	attrs [][2]string
}

// toSchema turns written html into the safeHTMLSchema it is read back as:
// segments [text] or [text, [[attribute, value], ...]]. [behaviour html-to-schema]
func toSchema(source string) []any {
	schema := []any{}
	for _, seg := range parseHTML(source) {
		if len(seg.attrs) == 0 {
			schema = append(schema, []any{seg.text})
			continue
		}
		attrs := make([]any, len(seg.attrs))
		for i, a := range seg.attrs {
			attrs[i] = []any{a[0], a[1]}
		}
		schema = append(schema, []any{seg.text, attrs})
	}
	return schema
}

// plainText is what a title says without its markup.
func plainText(schema any) string {
	list, _ := schema.([]any)
	var words []string
	for _, item := range list {
		if seg, ok := item.([]any); ok && len(seg) > 0 {
			s, _ := seg[0].(string)
			words = append(words, s)
		}
	}
	text := strings.ReplaceAll(html.UnescapeString(strings.Join(words, "")), "\u00a0", " ")
	return strings.TrimSpace(text)
}

type openTag struct {
	name  string
	attrs [][2]string
}

// parseHTML knows the tags the editor writes; others vanish, their text stays.
func parseHTML(source string) []segment {
	var segments []segment
	var stack []openTag
	for source != "" {
		before, rest, found := strings.Cut(source, "<")
		if before != "" {
			segments = append(segments, segment{before, flatten(stack)})
		}
		if !found {
			break
		}
		tag, after, closed := strings.Cut(rest, ">")
		if !closed {
			break
		}
		source = after
		stack, segments = applyTag(stack, segments, tag)
	}
	return segments
}

func applyTag(stack []openTag, segments []segment, tag string) ([]openTag, []segment) {
	name, rest, _ := strings.Cut(strings.TrimSuffix(tag, "/"), " ")
	name = strings.ToLower(strings.TrimSpace(name))
	switch {
	case name == "br":
		return stack, append(segments, segment{"", [][2]string{{"tag", "br"}}})
	case strings.HasPrefix(name, "/"):
		for i, s := range slices.Backward(stack) {
			if s.name == name[1:] {
				return stack[:i:i], segments
			}
		}
		return stack, segments
	case len(stack) > 32:
		return stack, segments
	}
	return append(stack, openTag{name, tagAttrs(name, rest)}), segments
}

func flatten(stack []openTag) [][2]string {
	var all [][2]string
	for _, t := range stack {
		all = append(all, t.attrs...)
	}
	return all
}

func tagAttrs(name, rest string) [][2]string {
	switch name {
	case "b", "strong":
		return [][2]string{{"font-weight", "bold"}}
	case "i", "em":
		return [][2]string{{"font-style", "italic"}}
	case "u":
		return [][2]string{{"text-decoration", "underline"}}
	case "a":
		return [][2]string{{"href", attr(rest, "href")}}
	case "div":
		return [][2]string{{"tag", "div"}}
	case "span":
		return spanAttrs(rest)
	}
	return nil
}

func spanAttrs(rest string) [][2]string {
	attrs := [][2]string{{"tag", "span"}}
	if strings.Contains(attr(rest, "class"), "mention") {
		return append(attrs, [2]string{"mention", attr(rest, "data-uuid")})
	}
	for declaration := range strings.SplitSeq(attr(rest, "style"), ";") {
		if name, value, ok := strings.Cut(declaration, ":"); ok {
			attrs = append(attrs, [2]string{strings.TrimSpace(name), strings.TrimSpace(value)})
		}
	}
	return attrs
}

// attr reads one attribute of a tag: quoted in either way, or bare.
func attr(rest, name string) string {
	_, value, ok := strings.Cut(" "+rest, " "+name+"=")
	if !ok || value == "" {
		return ""
	}
	if quote := value[:1]; quote == `"` || quote == "'" {
		inner, _, _ := strings.Cut(value[1:], quote)
		return html.UnescapeString(inner)
	}
	inner, _, _ := strings.Cut(value, " ")
	return inner
}
