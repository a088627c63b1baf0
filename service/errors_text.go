package service

import (
	"encoding/base64"
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"buf.build/go/protovalidate"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
	"github.com/tallyd/tallyd/service/tally"
)

// maxSaid is the longest excerpt of foreign text, in characters.
const maxSaid = 200

// sentence is the message of a failure: whose fault it is and who must act.
func sentence(r row, e *tally.Error, fields []*errdetails.BadRequest_FieldViolation, total int, mayHaveHappened bool) string {
	text := r.message
	if len(fields) > 0 && r.reason == tallydv1.ErrorReason_ERROR_REASON_INVALID_FIELD {
		text = aboutField(r, fields[0])
		if total > 1 {
			text += fmt.Sprintf(" (and %d more)", total-1)
		}
	}
	if mayHaveHappened {
		text += "; the write may have had its effect: the caller must look before trying again"
	}
	switch said := clean(e.Message, maxSaid); {
	case said == "":
	case r.domain == tallySays, e.Status != 0:
		text += `; Tally says: "` + said + `"`
	case len(fields) == 0:
		text += "; " + said
	}
	return text
}

// aboutField names a field and who refuses it.
func aboutField(r row, v *errdetails.BadRequest_FieldViolation) string {
	if r.domain == tallySays {
		return "Tally refuses " + v.GetField() + ", which the caller must change"
	}
	return broken(v.GetField(), v.GetDescription())
}

// broken names a field and the rule that it breaks.
func broken(field, rule string) string {
	switch {
	case strings.HasPrefix(rule, "must "), strings.HasPrefix(rule, "is "), strings.HasPrefix(rule, "may "), strings.HasPrefix(rule, "cannot "):
		return field + " " + rule
	default:
		return field + ": " + rule
	}
}

// ownViolations reads the rules of the contract that a request breaks.
func ownViolations(invalid *protovalidate.ValidationError) []tally.Violation {
	var violations []tally.Violation
	for _, v := range invalid.Violations {
		if v == nil {
			continue
		}
		rule := v.Proto.GetMessage()
		if rule == "" {
			rule = "must keep the rule " + v.Proto.GetRuleId()
		}
		if names := enumNames(v); names != "" {
			rule = "must be one of " + names
		}
		switch {
		case isEmpty(v) && v.Proto.GetRuleId() == "string.min_len":
			rule = "is required"
		case isEmpty(v):
			rule = "is required: " + rule
		}
		field := protovalidate.FieldPathString(v.Proto.GetField())
		if n := len(violations); n > 0 && violations[n-1].Field == field {
			continue // one rule at a time is enough to mend a field
		}
		if field == "" {
			// BadRequest knows no rule about several fields; a lone dot would help nobody.
			field = "request"
		}
		violations = append(violations, tally.Violation{Field: field, Description: rule})
	}
	return violations
}

// isEmpty tells that a field breaks its rule because it was left out.
func isEmpty(v *protovalidate.Violation) bool {
	if v.FieldDescriptor == nil || !v.FieldValue.IsValid() || v.FieldDescriptor.IsList() || v.FieldDescriptor.IsMap() {
		return false
	}
	switch v.FieldDescriptor.Kind() {
	case protoreflect.StringKind:
		return v.FieldValue.String() == ""
	case protoreflect.EnumKind:
		return v.FieldValue.Enum() == 0
	default:
		return false
	}
}

// enumNames spells the numbers of an enum's rule as the caller's code does.
func enumNames(v *protovalidate.Violation) string {
	if v.Proto.GetRuleId() != "enum.in" || v.FieldDescriptor == nil || v.FieldDescriptor.Enum() == nil || !v.RuleValue.IsValid() {
		return ""
	}
	numbers, ok := v.RuleValue.Interface().(protoreflect.List)
	if !ok {
		return ""
	}
	var names []string
	for i := range numbers.Len() {
		number := protoreflect.EnumNumber(numbers.Get(i).Int()) //nolint:gosec // the rule's own type is int32
		if value := v.FieldDescriptor.Enum().Values().ByNumber(number); value != nil {
			names = append(names, string(value.Name()))
		}
	}
	return strings.Join(names, ", ")
}

// libraryReason is the reason of a status that the grpc library made. Only codes that say one thing have a reason of their own.
func libraryReason(code codes.Code) tallydv1.ErrorReason {
	switch code {
	case codes.Canceled:
		return tallydv1.ErrorReason_ERROR_REASON_CALLER_CANCELLED
	case codes.DeadlineExceeded:
		return tallydv1.ErrorReason_ERROR_REASON_DEADLINE_IN_FLIGHT
	default:
		return tallydv1.ErrorReason_ERROR_REASON_INTERNAL
	}
}

// markup is a tag, closed or not.
var markup = regexp.MustCompile(`<[a-zA-Z/!?][^>]*(>|$)`)

// clean makes foreign text fit to travel: valid UTF-8, one line, printable, no markup, at most limit characters. The REST side has
// done so already; this map does not depend on it.
func clean(text string, limit int) string {
	if plain(text) && len(text) <= limit {
		return text
	}
	// Nothing past this can be kept, and a huge text is not worth a huge walk.
	text = text[:min(len(text), 8*utf8.UTFMax*limit)]
	text = markup.ReplaceAllString(strings.ToValidUTF8(text, " "), " ")
	text = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
	text = strings.Join(strings.Fields(text), " ")
	if utf8.RuneCountInString(text) <= limit {
		return text
	}
	return string([]rune(text)[:limit-3]) + "..."
}

// label makes foreign text fit for a name or a value: clean, and at most maxValue bytes.
func label(text string) string { return clipBytes(clean(text, maxValue), maxValue) }

// plain tells whether text holds nothing that clean would touch.
func plain(text string) bool {
	return strings.IndexFunc(text, func(r rune) bool { return r <= ' ' || r > '~' || r == '<' }) < 0
}

// clipBytes cuts text to at most limit bytes, between characters.
func clipBytes(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	end := limit - 3
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "..."
}

// encodedSize is what a status takes in the trailers: the message travels twice, escaped and within the details.
func encodedSize(s *spb.Status) int {
	size := base64.RawStdEncoding.EncodedLen(proto.Size(s))
	for i := range len(s.GetMessage()) {
		if c := s.GetMessage()[i]; c < ' ' || c > '~' || c == '%' {
			size += 2
		}
		size++
	}
	return size
}
