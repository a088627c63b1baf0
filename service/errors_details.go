package service

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/tallyd/tallyd/service/tally"
)

const (
	// maxEncoded bounds what message and details take in the trailers: past about 3 KB a proxy's default buffers answer 502, and
	// a rejected write would look replayable.
	maxEncoded = 2048
	// maxValue bounds one value of the metadata and one name, in bytes.
	maxValue = 64
	// maxPath bounds a field path, in characters.
	maxPath = 128
	// maxFields is more violations than ever fit.
	maxFields = 64
	// shortMessage is what is left of a message in the worst case.
	shortMessage = 160
)

// always are the keys of the metadata that every error carries.
var always = []string{"upstream", "upstream_status", "outcome", "attempts", "retry_safe"}

// draft is a status whose details can still be cut.
type draft struct {
	code    codes.Code
	message string
	info    *errdetails.ErrorInfo
	fields  []*errdetails.BadRequest_FieldViolation
	total   int // violations, the omitted included
	others  []*anypb.Any
}

// describe writes the status of a failure.
func describe(r row, e *tally.Error, code codes.Code, outcome tally.Outcome, after time.Duration) *draft {
	d := &draft{
		code: code,
		info: &errdetails.ErrorInfo{Reason: reasonName(r.reason), Domain: r.domain, Metadata: facts(e, outcome)},
	}
	maps.Copy(d.info.GetMetadata(), tidy(r.facts))
	if r.code == codes.InvalidArgument {
		d.fields, d.total = fieldViolations(e.Violations)
	}
	mayHaveHappened := code == codes.Unknown || (open(outcome) && writes(e.Effect))
	d.message = sentence(r, e, d.fields, d.total, mayHaveHappened)
	if after > 0 {
		d.add(&errdetails.RetryInfo{RetryDelay: durationpb.New(after)})
	}
	if r.quota {
		d.add(&errdetails.QuotaFailure{Violations: []*errdetails.QuotaFailure_Violation{quotaViolation(r, e)}})
	}
	if r.resource && e.ResourceType != "" {
		d.add(&errdetails.ResourceInfo{ResourceType: label(e.ResourceType), ResourceName: label(e.ResourceID)})
	}
	return d
}

// facts is the metadata of a failure.
func facts(e *tally.Error, outcome tally.Outcome) map[string]string {
	settled := e.Effect == tally.Read || !open(outcome)
	facts := map[string]string{
		"upstream":            "api.tally.so",
		"upstream_status":     strconv.Itoa(e.Status),
		"outcome":             string(outcome),
		"attempts":            strconv.Itoa(e.Attempts),
		"retry_safe":          strconv.FormatBool(settled),
		"key_alias":           e.KeyAlias,
		"redirect_host":       e.RedirectHost,
		"cf_ray":              e.Ray,
		"upstream_request_id": e.RequestID,
	}
	if !e.KeySince.IsZero() {
		facts["latched_since"] = e.KeySince.UTC().Format(time.RFC3339)
	}
	if e.Limit > 0 {
		facts["limit_bytes"] = strconv.FormatInt(e.Limit, 10)
	}
	if e.Size > 0 {
		facts["size_bytes"] = strconv.FormatInt(e.Size, 10)
	}
	return tidy(facts)
}

// tidy makes metadata fit to travel and drops what is empty.
func tidy(facts map[string]string) map[string]string {
	kept := make(map[string]string, len(facts))
	for key, value := range facts {
		if value = label(value); value != "" {
			kept[label(key)] = value
		}
	}
	return kept
}

// fieldViolations keeps what is about the caller's own fields, and counts it.
func fieldViolations(violations []tally.Violation) ([]*errdetails.BadRequest_FieldViolation, int) {
	var fields []*errdetails.BadRequest_FieldViolation
	total := 0
	for _, v := range violations {
		if v.Field == "" {
			continue
		}
		if total++; total <= maxFields {
			fields = append(fields, &errdetails.BadRequest_FieldViolation{
				Field: clean(v.Field, maxPath), Description: clean(v.Description, maxSaid),
			})
		}
	}
	return fields, total
}

// quotaViolation says whose share is spent: the caller's where we count, else the key's.
func quotaViolation(r row, e *tally.Error) *errdetails.QuotaFailure_Violation {
	if r.domain == weSay {
		return &errdetails.QuotaFailure_Violation{
			Subject:     strings.TrimSuffix("caller:"+label(e.Caller), ":"),
			Description: "calls that wait for a request to Tally",
		}
	}
	return &errdetails.QuotaFailure_Violation{
		Subject:     strings.TrimSuffix("key:"+label(e.KeyAlias), ":"),
		Description: "requests that Tally grants a key in a minute",
	}
}

// adopt takes over a status that the grpc library made, and says what it lacks.
func adopt(s *status.Status) mapped {
	d := &draft{code: s.Code(), message: strings.ToValidUTF8(s.Message(), "?")}
	for _, detail := range s.Proto().GetDetails() {
		info := &errdetails.ErrorInfo{}
		if d.info == nil && detail.UnmarshalTo(info) == nil {
			d.info = info
			continue
		}
		d.others = append(d.others, detail)
	}
	if d.info == nil {
		d.info = &errdetails.ErrorInfo{
			Reason: reasonName(libraryReason(s.Code())), Domain: weSay,
			Metadata: facts(&tally.Error{}, tally.OutcomeUnknown),
		}
	}
	d.info.Reason, d.info.Domain = label(d.info.GetReason()), label(d.info.GetDomain())
	d.info.Metadata = tidy(d.info.GetMetadata())
	m := mapped{reason: d.info.GetReason(), outcome: tally.OutcomeUnknown}
	if outcome := d.info.GetMetadata()["outcome"]; outcome != "" {
		m.outcome = tally.Outcome(outcome)
	}
	m.status = d.status()
	return m
}

// add appends a detail. One that cannot be encoded is left out: the status is worth more than any detail.
func (d *draft) add(detail proto.Message) {
	if encoded, err := anypb.New(detail); err == nil {
		d.others = append(d.others, encoded)
	}
}

// status cuts what is too long, the violations first, and returns the rest.
func (d *draft) status() *status.Status {
	d.keep(len(d.fields))
	for len(d.fields) > 1 && d.over() {
		d.keep(len(d.fields) - 1)
	}
	for len(d.message) > shortMessage && d.over() {
		d.message = clipBytes(d.message, max(shortMessage, len(d.message)*3/4))
	}
	if d.over() {
		d.keep(0)
	}
	if d.over() {
		maps.DeleteFunc(d.info.GetMetadata(), func(key, _ string) bool { return !slices.Contains(always, key) })
	}
	if d.over() {
		d.others = nil
	}
	return status.FromProto(d.proto())
}

// keep cuts the violations and says how many are missing.
func (d *draft) keep(n int) {
	d.fields = d.fields[:n]
	if n < d.total {
		d.info.Metadata["violations_omitted"] = strconv.Itoa(d.total - n)
	}
}

func (d *draft) over() bool { return encodedSize(d.proto()) >= maxEncoded }

func (d *draft) proto() *spb.Status {
	whole := &draft{}
	whole.add(d.info)
	if len(d.fields) > 0 {
		whole.add(&errdetails.BadRequest{FieldViolations: d.fields})
	}
	return &spb.Status{
		Code: int32(d.code), Message: d.message, //nolint:gosec // a code is small
		Details: append(whole.others, d.others...),
	}
}
