package sandbox

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// fileAnswer is one uploaded file or drawn signature.
type fileAnswer struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	URL      string `json:"url"`
	MimeType string `json:"mimeType"`
	Size     int    `json:"size"`
}

// payment is the answer to a PAYMENT block. [behaviour payment-answer]
type payment struct {
	Price    any    `json:"price"`
	Currency string `json:"currency"`
	Name     string `json:"name"`
	Email    string `json:"email"`
	Link     string `json:"link"`
}

// rest is the answer as the submissions routes give it: labels where webhooks
// carry ids. [behaviour choice-labels]
func (a answer) rest(choiceIDs bool) any {
	switch v := a.value.(type) {
	case []string:
		if choiceIDs {
			return v
		}
		return labels(a.question.options, v)
	case map[string][]string:
		return matrixLabels(a.question, v)
	case map[string]any:
		return a.named(v)
	}
	return a.value
}

// labels keeps what matches no option: the typed text of "Other".
// [behaviour other-text]
func labels(options []option, ids []string) []string {
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = id
		for _, o := range options {
			if o.ID == id {
				texts[i] = o.Text
			}
		}
	}
	return texts
}

func matrixLabels(q *question, v map[string][]string) map[string][]string {
	rows := make(map[string][]string, len(v))
	for row, columns := range v {
		rows[row] = labels(q.columns, columns)
	}
	return rows
}

// named answers hidden fields as an object by name, and calculated ones too
// unless there is but one. [behaviour hidden-answer] [behaviour calculated-answer]
func (a answer) named(byUUID map[string]any) any {
	byName := map[string]any{}
	for _, f := range a.question.named {
		if value, found := byUUID[f.uuid]; found {
			byName[f.name] = value
		}
	}
	if a.question.kind == "CALCULATED_FIELDS" && len(a.question.named) == 1 {
		return byName[a.question.named[0].name]
	}
	return byName
}

// formatted is present only for numbers with custom formatting.
// [behaviour formatted-answer]
func (a answer) formatted() *string {
	p := a.question.payload
	prefix, _ := p["prefix"].(string)
	suffix, _ := p["suffix"].(string)
	separator, _ := p["thousandsSeparator"].(string)
	n, numeric := toNumber(a.value)
	if a.question.kind != "INPUT_NUMBER" || !numeric || prefix+suffix+separator == "" {
		return nil
	}
	whole, fraction, decimal := strings.Cut(strconv.FormatFloat(n, 'f', -1, 64), ".")
	written := prefix + grouped(whole, separator)
	if decimal {
		point := "."
		if p["decimalSeparator"] == "COMMA" {
			point = ","
		}
		written += point + fraction
	}
	written += suffix
	return &written
}

func grouped(digits, separator string) string {
	mark := map[string]string{"COMMA": ",", "DOT": ".", "SPACE": " "}[separator]
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + mark + digits[i:]
	}
	return digits
}

// signedURL looks like Tally's: a JSON web token and a signature in the
// query, and no expiry. [behaviour signed-urls]
func signedURL(address, id, formID string) string {
	claims := fmt.Sprintf(`{"id":%q,"formId":%q,"iat":1767225600}`, id, formID)
	token := "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9." + base64.RawURLEncoding.EncodeToString([]byte(claims))
	signature := hmac.New(sha256.New, []byte("tally sandbox"))
	signature.Write([]byte(token))
	sum := signature.Sum(nil)
	token += "." + base64.RawURLEncoding.EncodeToString(sum)
	query := url.Values{"accessToken": {token}, "id": {id}, "signature": {hex.EncodeToString(sum)}}
	return address + "?" + query.Encode()
}

func newFile(id, name, mimeType string, size int, formID string) fileAnswer {
	address := "https://storage.tally.so/private/" + url.PathEscape(name)
	return fileAnswer{ID: id, Name: name, URL: signedURL(address, id, formID), MimeType: mimeType, Size: size}
}
