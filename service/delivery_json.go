package service

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// What no form comes near bounds the work that a delivery can make.
const (
	maxDeliveryBytes = 8 << 20
	maxDeliveryItems = 10_000 // of fields, and of the options of one field
)

// usualFields is room for the fields of most forms.
const usualFields = 16

// errDelivery is a body that is no delivery. The errors around it tell the place, never what stood there: it may be an answer.
var errDelivery = errors.New("body is no delivery of a form response")

// delivery is the body of a webhook delivery as far as a submission needs it.
type delivery struct {
	eventType, submissionID, responseID, respondentID, formID string
	createdAt, previewURL, pdfURL                             string

	fields []deliveredField
	// repaired says that text of the delivery was no Unicode.
	repaired bool
}

// deliveredField is one element of a delivery's fields. A question has one, or several that differ in what follows its id.
type deliveredField struct {
	key, kind              string
	question, suffix       string // of the key; a question's id holds no "_"
	label, value           string // JSON as it is written; empty for null
	options, rows, columns []option
}

// deliveryReader reads the JSON of a delivery in one pass. Answers stay as they are written.
type deliveryReader struct {
	json *jsontext.Decoder
	// source is the body once more: what is taken from it as it stands needs no memory of its own.
	source   string
	delivery delivery
}

// readDelivery returns errDelivery, with the place, for a body that is none.
func readDelivery(json *jsontext.Decoder, body []byte) (*delivery, error) {
	if len(body) > maxDeliveryBytes {
		return nil, fmt.Errorf("%d bytes, at most %d are read: %w", len(body), maxDeliveryBytes, errDelivery)
	}
	repaired := !utf8.Valid(body)
	if repaired {
		body = bytes.ToValidUTF8(body, []byte("\uFFFD"))
	}
	// An answer may hold a key twice, which is for its kind to judge.
	json.Reset(bytes.NewBuffer(body), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	r := &deliveryReader{json: json, source: string(body)}
	r.delivery.repaired, r.delivery.fields = repaired, make([]deliveredField, 0, usualFields)
	err := r.object(r.event)
	if err == nil {
		if _, end := json.ReadToken(); !errors.Is(end, io.EOF) {
			err = errDelivery
		}
	}
	if err != nil {
		return nil, fmt.Errorf("at byte %d: %w", json.InputOffset(), errDelivery)
	}
	return &r.delivery, nil
}

// object reads an object and lets member read the value of each key. Null is an object without any.
func (r *deliveryReader) object(member func(key string) error) error {
	switch r.json.PeekKind() {
	case 'n':
		return r.json.SkipValue()
	case '{':
	default:
		return errDelivery
	}
	if _, err := r.json.ReadToken(); err != nil {
		return err
	}
	for r.json.PeekKind() != '}' {
		key, err := r.value()
		if err != nil {
			return err
		}
		if err := member(r.unquoted(key)); err != nil {
			return err
		}
	}
	_, err := r.json.ReadToken()
	return err
}

// value reads a value as it is written.
func (r *deliveryReader) value() (string, error) {
	value, err := r.json.ReadValue()
	if err != nil {
		return "", err
	}
	end := int(r.json.InputOffset())
	return r.source[end-len(value) : end], nil
}

// unquoted returns the text of a JSON string.
func (r *deliveryReader) unquoted(quoted string) string {
	if strings.IndexByte(quoted, '\\') < 0 {
		return quoted[1 : len(quoted)-1]
	}
	text, err := jsontext.AppendUnquote(nil, quoted)
	r.delivery.repaired = r.delivery.repaired || err != nil
	return string(text)
}

// text reads a scalar as text, a number as it is written. Null and what is no scalar are none. A second text is an error: there is
// no telling which one Tally means.
func (r *deliveryReader) text(to *string) error {
	text, err := r.value()
	if err != nil {
		return err
	}
	switch text[0] {
	case 'n', '{', '[':
		return nil
	case '"':
		text = r.unquoted(text)
	}
	if *to != "" && *to != text {
		return errDelivery
	}
	*to = text
	return nil
}

// raw reads a value as it is written, null as none.
func (r *deliveryReader) raw(to *string) error {
	value, err := r.value()
	if err != nil || value[0] == 'n' {
		return err
	}
	if *to != "" {
		return errDelivery
	}
	*to = value
	return nil
}

// list calls element for each element of a list that is not null. Null is a list without any.
func (r *deliveryReader) list(element func() error) error {
	switch r.json.PeekKind() {
	case 'n':
		return r.json.SkipValue()
	case '[':
	default:
		return errDelivery
	}
	if _, err := r.json.ReadToken(); err != nil {
		return err
	}
	for n := 0; r.json.PeekKind() != ']'; n++ {
		read := element
		if r.json.PeekKind() == 'n' {
			read = r.json.SkipValue
		}
		if n == maxDeliveryItems {
			return errDelivery
		}
		if err := read(); err != nil {
			return err
		}
	}
	_, err := r.json.ReadToken()
	return err
}

func (r *deliveryReader) event(key string) error {
	switch key {
	case "eventType":
		return r.text(&r.delivery.eventType)
	case "data":
		return r.object(r.data)
	}
	return r.json.SkipValue()
}

func (r *deliveryReader) data(key string) error {
	d := &r.delivery
	switch key {
	case "submissionId":
		return r.text(&d.submissionID)
	case "responseId":
		return r.text(&d.responseID)
	case "respondentId":
		return r.text(&d.respondentID)
	case "formId":
		return r.text(&d.formID)
	case "createdAt":
		return r.text(&d.createdAt)
	case "submissionPreviewUrl":
		return r.text(&d.previewURL)
	case "submissionPdfUrl":
		return r.text(&d.pdfURL)
	case "fields":
		return r.list(r.field)
	}
	return r.json.SkipValue()
}

func (r *deliveryReader) field() error {
	f := deliveredField{}
	if err := r.object(func(key string) error { return r.fieldMember(&f, key) }); err != nil {
		return err
	}
	if rest, ok := strings.CutPrefix(f.key, "question_"); ok {
		f.question, f.suffix, _ = strings.Cut(rest, "_")
	}
	r.delivery.fields = append(r.delivery.fields, f)
	return nil
}

func (r *deliveryReader) fieldMember(f *deliveredField, key string) error {
	switch key {
	case "key":
		return r.text(&f.key)
	case "label":
		return r.raw(&f.label)
	case "type":
		return r.text(&f.kind)
	case "value":
		return r.raw(&f.value)
	case "options":
		return r.options(&f.options)
	case "rows":
		return r.options(&f.rows)
	case "columns":
		return r.options(&f.columns)
	}
	return r.json.SkipValue()
}

// options reads what can be chosen. What is no list is passed over: an answer is worth keeping without its labels.
func (r *deliveryReader) options(to *[]option) error {
	if kind := r.json.PeekKind(); kind != '[' && kind != 'n' || *to != nil {
		return r.json.SkipValue()
	}
	return r.list(func() error {
		if r.json.PeekKind() != '{' {
			return r.json.SkipValue()
		}
		o := option{}
		err := r.object(func(key string) error {
			switch key {
			case "id":
				return r.text(&o.id)
			case "text":
				return r.text(&o.text)
			}
			return r.json.SkipValue()
		})
		*to = append(*to, o)
		return err
	})
}
