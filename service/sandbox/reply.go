package sandbox

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"strconv"
)

// reply is an answer before it is written: JSON unless text is set, nothing
// when both are empty.
type reply struct {
	status int
	value  any
	text   string
	header http.Header
}

func ok(value any) *reply      { return &reply{status: http.StatusOK, value: value} }
func created(value any) *reply { return &reply{status: http.StatusCreated, value: value} }
func empty(status int) *reply  { return &reply{status: status} }

func failure(status int, message string) *reply {
	return &reply{status: status, value: map[string]string{"message": message}}
}

// unauthorized is the recorded 401: bare text, not JSON. A plan gate answers
// the very same. [behaviour unauthorized-text]
func unauthorized() *reply { return &reply{status: http.StatusUnauthorized, text: "Unauthorized"} }

// forbidden carries a message in JSON, as clients read it. [behaviour forbidden-json]
func forbidden() *reply {
	return failure(http.StatusForbidden, "You do not have access to this resource")
}

// notFound words a 404. [behaviour not-found-json]
func notFound(what string) *reply { return failure(http.StatusNotFound, what+" was not found") }

// gone answers with one of the three statuses nobody has settled between.
func gone(status int, what string) *reply {
	switch status {
	case http.StatusUnauthorized:
		return unauthorized()
	case http.StatusForbidden:
		return forbidden()
	}
	return notFound(what)
}

type validationBody struct {
	Message   string            `json:"message"`
	ErrorType string            `json:"errorType"`
	Errors    []validationEntry `json:"errors"`
}

type validationEntry struct {
	Message string `json:"message"`
	Field   string `json:"field"`
	Type    string `json:"type"`
}

// invalid is the recorded 400; only the first violation is reported.
// [behaviour joi-envelope]
func invalid(v *violation) *reply {
	entry := validationEntry{Message: v.message(), Field: v.field(), Type: v.code}
	return &reply{status: http.StatusBadRequest, value: validationBody{
		Message: entry.Message, ErrorType: "VALIDATION", Errors: []validationEntry{entry},
	}}
}

// bytes renders the body, which is encoded only after the lock is released.
func (r *reply) bytes() ([]byte, string) {
	if r.text != "" {
		return []byte(r.text), "text/plain; charset=utf-8"
	}
	if r.value == nil {
		return nil, ""
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(r.value); err != nil {
		return []byte(`{"message":"sandbox cannot encode its answer"}`), "application/json; charset=utf-8"
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), "application/json; charset=utf-8"
}

func (r *reply) write(w http.ResponseWriter) {
	body, kind := r.bytes()
	maps.Copy(w.Header(), r.header)
	if kind != "" {
		w.Header().Set("Content-Type", kind)
	}
	if r.status != http.StatusNoContent {
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	}
	w.WriteHeader(r.status)
	_, _ = w.Write(body) //nolint:gosec // the content type says JSON or plain text, and no browser comes here
}
