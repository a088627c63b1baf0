package service

import (
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// jsonNumber is a number as it is written, so that none is rounded unnoticed.
type jsonNumber string

// answerParser parses one answer after the other.
type answerParser struct {
	json *jsontext.Decoder
	// repaired says that the last answer held text that is no Unicode, such as half an emoji.
	repaired bool
}

func newAnswerParser() *answerParser {
	return &answerParser{json: jsontext.NewDecoder(strings.NewReader(""))}
}

// parse returns the value as nil, bool, string, jsonNumber, []any or map[string]any. Plain text and numbers, the commonest answers,
// need no parser. It returns the error of the parser; a key that appears twice is one.
func (p *answerParser) parse(text string) (any, error) {
	p.repaired = false
	if len(text) > 1 && text[0] == '"' && strings.IndexByte(text, '\\') < 0 {
		return text[1 : len(text)-1], nil
	}
	if text[0] == '-' || (text[0] >= '0' && text[0] <= '9') {
		return jsonNumber(text), nil
	}
	p.json.Reset(strings.NewReader(text), jsontext.AllowInvalidUTF8(true))
	return p.value()
}

func (p *answerParser) value() (any, error) {
	token, err := p.json.ReadToken()
	if err != nil {
		return nil, err
	}
	switch token.Kind() {
	case '[':
		return p.list()
	case '{':
		return p.object()
	case '"':
		text := token.String()
		p.repaired = p.repaired || strings.ContainsRune(text, '\uFFFD')
		return text, nil
	case '0':
		return jsonNumber(token.String()), nil
	case 't', 'f':
		return token.Bool(), nil
	default:
		return nil, nil //nolint:nilnil // it is JSON's null
	}
}

func (p *answerParser) list() (any, error) {
	list := []any{}
	for p.json.PeekKind() != ']' {
		value, err := p.value()
		if err != nil {
			return nil, err
		}
		list = append(list, value)
	}
	_, err := p.json.ReadToken()
	return list, err
}

func (p *answerParser) object() (any, error) {
	object := map[string]any{}
	for p.json.PeekKind() != '}' {
		name, err := p.json.ReadToken()
		if err != nil {
			return nil, err
		}
		key := name.String()
		if object[key], err = p.value(); err != nil {
			return nil, err
		}
	}
	_, err := p.json.ReadToken()
	return object, err
}
