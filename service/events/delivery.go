package events

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// delivery is what the intake reads of the body of a delivery.
type delivery struct {
	eventType        string
	created          time.Time
	form, submission string
	data             []byte // everything about the submission, as it came
}

// parseDelivery reads the envelope of a delivery. Keys that it does not know are none of its business.
func parseDelivery(body []byte) (d delivery, err error) {
	err = members(body, func(key string, value jsontext.Value) error {
		switch key {
		case "eventType":
			d.eventType = text(value)
		case "createdAt":
			d.created, _ = time.Parse(time.RFC3339, text(value))
		case "data":
			d.data = value
		}
		return nil
	})
	if err != nil {
		return d, err
	}
	if d.data == nil {
		return d, errors.New("data is missing")
	}
	err = members(d.data, func(key string, value jsontext.Value) error {
		switch key {
		case "formId":
			d.form = text(value)
		case "submissionId":
			d.submission = text(value)
		case "responseId": // equals submissionId wherever both are seen
			if d.submission == "" {
				d.submission = text(value)
			}
		}
		return nil
	})
	return d, err
}

// members calls do for each member of a JSON object, with a value that is part of it. It returns the error of the parser or of do.
func members(object []byte, do func(key string, value jsontext.Value) error) error {
	decoder := jsontext.NewDecoder(bytes.NewBuffer(object), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if token, err := decoder.ReadToken(); err != nil || token.Kind() != '{' {
		return fmt.Errorf("it is no JSON object: %w", err)
	}
	for decoder.PeekKind() != '}' {
		name, err := decoder.ReadToken()
		if err != nil {
			return err
		}
		key := name.String()
		value, err := decoder.ReadValue()
		if err != nil {
			return err
		}
		// The decoder's own bytes are gone with its next step.
		end := int(decoder.InputOffset())
		if err := do(key, object[end-len(value):end]); err != nil {
			return err
		}
	}
	_, err := decoder.ReadToken()
	return err
}

// text returns a JSON string's text, and nothing for any other value.
func text(value jsontext.Value) string {
	if value.Kind() != '"' {
		return ""
	}
	unquoted, err := jsontext.AppendUnquote(nil, value)
	if err != nil {
		return ""
	}
	return string(unquoted)
}
