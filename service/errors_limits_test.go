package service

import (
	"errors"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/tallyd/tallyd/service/tally"
)

// unprocessed are the statuses by which a write that has left may still be called undone.
var unprocessed = []int{408, 421, 425, 521, 523, 525, 526}

// checkInvariants holds an error against what is true of every one.
func checkInvariants(t *testing.T, e *tally.Error) {
	t.Helper()
	m := toStatus(e)
	code, write := m.status.Code(), e.Effect != tally.Read
	mayHaveHappened := m.outcome == tally.OutcomeUnknown || m.outcome == tally.OutcomeApplied
	spared := slices.Contains(unprocessed, e.Status) || e.Kind == tally.KindEdgeChallenge
	if code == codes.OK {
		t.Errorf("toStatus(%v) = OK, want an error", e)
	}
	if code == codes.Canceled && e.Kind != tally.KindCancelled {
		t.Errorf("toStatus(%v) = CANCELLED, want that only when the caller cancelled", e)
	}
	if write && code == codes.Unavailable && e.Status != 0 && !spared {
		t.Errorf("toStatus(%v) = UNAVAILABLE although the write had left", e)
	}
	if write && code == codes.Unavailable && mayHaveHappened {
		t.Errorf("toStatus(%v) = UNAVAILABLE with outcome %s, want UNKNOWN", e, m.outcome)
	}
	if !write && code == codes.Unknown {
		t.Errorf("toStatus(%v) = UNKNOWN, want that for writes only", e)
	}
	if code == codes.Unknown && m.pushback >= 0 {
		t.Errorf("toStatus(%v) has push-back %v, want never", e, m.pushback)
	}
	if e.Status == 0 && e.Outcome == tally.OutcomeNotSent && m.outcome != tally.OutcomeNotSent {
		t.Errorf("toStatus(%v) has outcome %s, want not_sent", e, m.outcome)
	}
	got := see(t, m)
	if mayHaveHappened && write && got.Retry != 0 {
		t.Errorf("toStatus(%v) invites to repeat after %v, want no RetryInfo", e, got.Retry)
	}
	if got.Domain != "tally.so" && got.Domain != "tallyd" {
		t.Errorf("toStatus(%v) has domain %q, want tally.so or tallyd", e, got.Domain)
	}
	if !slices.Contains([]tally.Outcome{"not_sent", "rejected", "unknown", "applied"}, m.outcome) {
		t.Errorf("toStatus(%v) has outcome %q, want one of the four", e, m.outcome)
	}
}

// Whatever the REST side reports, sound or not, the invariants hold.
func TestInvariants(t *testing.T) {
	outcomes := []tally.Outcome{"", tally.OutcomeNotSent, tally.OutcomeRejected, tally.OutcomeUnknown, tally.OutcomeApplied}
	some := []int{0, 100, 200, 204, 301, 400, 401, 403, 404, 408, 429, 500, 503, 521, 1000}
	every := []int{0}
	for code := 100; code <= 1000; code++ {
		every = append(every, code)
	}
	for kind := tally.Kind(0); kind <= tally.KindContract+1; kind++ {
		statuses := some
		if kind == tally.KindStatus {
			statuses = every
		}
		for _, code := range statuses {
			for effect := tally.Effect(0); effect <= tally.Delete; effect++ {
				for _, outcome := range outcomes {
					checkInvariants(t, &tally.Error{Kind: kind, Status: code, Effect: effect, Outcome: outcome, Attempts: 1})
				}
			}
		}
	}
}

func TestLevel(t *testing.T) {
	tests := []struct {
		code codes.Code
		want slog.Level
	}{
		{codes.OK, slog.LevelInfo},
		{codes.Canceled, slog.LevelWarn},
		{codes.Unknown, slog.LevelError},
		{codes.InvalidArgument, slog.LevelWarn},
		{codes.DeadlineExceeded, slog.LevelError},
		{codes.NotFound, slog.LevelWarn},
		{codes.AlreadyExists, slog.LevelWarn},
		{codes.PermissionDenied, slog.LevelWarn},
		{codes.ResourceExhausted, slog.LevelWarn},
		{codes.FailedPrecondition, slog.LevelWarn},
		{codes.Aborted, slog.LevelWarn},
		{codes.OutOfRange, slog.LevelWarn},
		{codes.Unimplemented, slog.LevelError},
		{codes.Internal, slog.LevelError},
		{codes.Unavailable, slog.LevelError},
		{codes.DataLoss, slog.LevelError},
		{codes.Unauthenticated, slog.LevelWarn},
	}
	for _, test := range tests {
		t.Run(test.code.String(), func(t *testing.T) {
			if got := level(test.code); got != test.want {
				t.Errorf("level(%v) = %v, want %v", test.code, got, test.want)
			}
		})
	}
}

// huge fills everything that foreign text can reach.
func huge(text, field string, n int) *tally.Error {
	e := &tally.Error{
		Kind: tally.KindStatus, Status: 422, JSON: true, Effect: tally.Update, Message: text,
		ResourceType: text, ResourceID: text, KeyAlias: text, RedirectHost: text, Ray: text, RequestID: text,
		Size: 1 << 62, Limit: 1 << 62, Attempts: 1 << 62, RetryAfter: 1 << 62,
	}
	for i := range n {
		e.Violations = append(e.Violations, tally.Violation{Field: field + strconv.Itoa(i), Description: text})
	}
	return e
}

func TestViolationsAreCutWithACount(t *testing.T) {
	s := toStatus(huge("must be short", "blocks.payload.", 500)).status
	kept := detailOf[*errdetails.BadRequest](t, s).GetFieldViolations()
	omitted, err := strconv.Atoi(infoOf(t, s).GetMetadata()["violations_omitted"])
	if err != nil || len(kept) < 3 || len(kept)+omitted != 500 {
		t.Errorf("%d violations kept and %d omitted (%v), want at least 3 and 500 together", len(kept), omitted, err)
	}
	if kept[0].GetField() != "blocks.payload.0" {
		t.Errorf("first violation = %v, want that of the first field", kept[0])
	}
	if want := "(and 499 more)"; !strings.Contains(s.Message(), want) {
		t.Errorf("message = %q, want %q in it", s.Message(), want)
	}
	few := toStatus(huge("must be short", "f", 2)).status
	if got, ok := infoOf(t, few).GetMetadata()["violations_omitted"]; ok {
		t.Errorf("violations_omitted = %q, want none when all are there", got)
	}
}

// The violations go first; the message is shortened only when that is not enough.
func TestMessageIsCutLast(t *testing.T) {
	said := strings.Repeat("a", 200)
	if got := toStatus(huge(said, "f", 40)).status.Message(); !strings.Contains(got, said) {
		t.Errorf("message = %q, want all of what Tally said", got)
	}
	wide := strings.Repeat("語", 200)
	got := toStatus(huge(wide, "f", 40)).status.Message()
	if !strings.HasSuffix(got, "...") || !strings.Contains(got, "Tally refuses f0") {
		t.Errorf("message = %q, want its beginning and three dots", got)
	}
}

func TestUpstreamTextIsCut(t *testing.T) {
	long := strings.Repeat("x", 201)
	got := toStatus(&tally.Error{Kind: tally.KindStatus, Status: 500, Message: long}).status.Message()
	if strings.Contains(got, strings.Repeat("x", 198)) || !strings.Contains(got, strings.Repeat("x", 197)+"...") {
		t.Errorf("message = %q, want 197 characters and three dots", got)
	}
}

func TestClean(t *testing.T) {
	tests := []struct {
		name  string
		text  string
		limit int
		want  string
	}{
		{"plain", "form_id", 10, "form_id"},
		{"at the limit", "0123456789", 10, "0123456789"},
		{"over the limit", "0123456789a", 10, "0123456..."},
		{"characters, not bytes", "äöüäöüäöüä", 10, "äöüäöüäöüä"},
		{"one line", "a\r\n\tb\x00\x1b[31mc", 20, "a b [31mc"},
		{"bidi and zero width", "a\u202eb\u200bc", 20, "a b c"},
		{"invalid bytes", "a\xff\xfeb", 20, "a b"},
		{"markup", `<a href="x">here</a><br/>now`, 20, "here now"},
		{"open markup", "see <script", 20, "see"},
		{"a comment", "a<!-- b -->c", 20, "a c"},
		{"no markup", "3 < 4 > 2", 20, "3 < 4 > 2"},
		{"spaces", "  a  ", 20, "a"},
		{"empty", "", 20, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := clean(test.text, test.limit); got != test.want {
				t.Errorf("clean(%q, %d) = %q, want %q", test.text, test.limit, got, test.want)
			}
		})
	}
}

func TestClipBytes(t *testing.T) {
	tests := []struct {
		text  string
		limit int
		want  string
	}{
		{"short", 5, "short"},
		{"longer", 5, "lo..."},
		{"aéé", 5, "aéé"},
		{"aééé", 5, "a..."},
		{"語語語", 8, "語..."},
	}
	for _, test := range tests {
		t.Run(test.text, func(t *testing.T) {
			if got := clipBytes(test.text, test.limit); got != test.want {
				t.Errorf("clipBytes(%q, %d) = %q, want %q", test.text, test.limit, got, test.want)
			}
		})
	}
}

// checkTravels holds a status against what proxies and other languages can take.
func checkTravels(t *testing.T, m mapped) {
	t.Helper()
	if size := wireSize(t, m.status); size >= 2048 {
		t.Errorf("status takes %d bytes, want less than 2048: %v", size, m.status)
	}
	texts := []string{m.status.Message()}
	for key, value := range infoOf(t, m.status).GetMetadata() {
		texts = append(texts, key, value)
	}
	for _, text := range texts {
		if !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
			t.Errorf("text %q, want valid UTF-8 without control characters", text)
		}
	}
}

func TestHugeErrorsTravel(t *testing.T) {
	for _, text := range []string{"", "x", "語", "\xff", "\x00", "<b>", "%", strings.Repeat("%", 300), strings.Repeat("語", 9000), strings.Repeat("𝄞 ", 500)} {
		for _, n := range []int{0, 1, 2, 63, 64, 65, 3000} {
			for kind := tally.KindStatus; kind <= tally.KindContract; kind++ {
				e := huge(text, text, n)
				e.Kind = kind
				checkTravels(t, toStatus(e))
			}
		}
	}
}

func FuzzToStatusTravels(f *testing.F) {
	f.Add("Form was not found", "blocks[1].type", uint8(3), 404, 1, true)
	f.Add(strings.Repeat("語<br>", 100), "\xff", uint8(200), 400, 1, true)
	f.Add("%\x00", strings.Repeat("a.", 300), uint8(9), 503, 7, false)
	f.Fuzz(func(t *testing.T, text, field string, n uint8, code, kind int, json bool) {
		e := huge(text, field, int(n))
		e.Status, e.Kind, e.JSON = code, tally.Kind(kind), json
		m := toStatus(e)
		checkTravels(t, m)
		if markup.MatchString(m.status.Message()) {
			t.Errorf("message = %q, want no markup", m.status.Message())
		}
		checkTravels(t, toStatus(&tally.Error{Kind: tally.KindQuotaFull, Caller: text}))
	})
}

// A status that comes from elsewhere is cut as well, down to its ErrorInfo if need be.
func TestHugeAdoptedStatusTravels(t *testing.T) {
	for _, text := range []string{"x", "語", "%"} {
		long := strings.Repeat(text, 5000)
		facts := map[string]string{"outcome": "rejected"}
		for i := range 100 {
			facts[long[:3*i]] = long
		}
		whole, err := status.New(codes.Aborted, long).WithDetails(
			&errdetails.DebugInfo{Detail: long}, &errdetails.ErrorInfo{Reason: long, Domain: long, Metadata: facts})
		if err != nil {
			t.Fatal(err)
		}
		m := toStatus(whole.Err())
		if size := wireSize(t, m.status); size >= 2048 || m.status.Code() != codes.Aborted || m.outcome != "rejected" {
			t.Errorf("toStatus(a status of %q) = %v, %s in %d bytes, want Aborted, rejected in less than 2048", text, m.status.Code(), m.outcome, size)
		}
	}
	if got := toStatus(status.New(codes.Aborted, "a\xffb").Err()).status.Message(); !utf8.ValidString(got) {
		t.Errorf("message = %q, want valid UTF-8", got)
	}
}

// Status, details and trailer arrive at a client of the library, which knows nothing of this map.
func TestStatusArrives(t *testing.T) {
	tests := []struct {
		name        string
		err         error
		wantCode    codes.Code
		wantTrailer map[string]string
	}{
		{
			"rate limit", &tally.Error{Kind: tally.KindStatus, Status: 429, Effect: tally.Read}, codes.ResourceExhausted,
			map[string]string{"tallyd-reason": "TALLY_RATE_LIMITED", "tallyd-outcome": "rejected", "grpc-retry-pushback-ms": "60000"},
		},
		{
			"open write", &tally.Error{Kind: tally.KindReset, Effect: tally.Create}, codes.Unknown,
			map[string]string{"tallyd-reason": "TALLY_RESET", "tallyd-outcome": "unknown", "grpc-retry-pushback-ms": "-1"},
		},
		{
			"huge", huge(strings.Repeat("語", 300), "f", 90), codes.InvalidArgument,
			map[string]string{"tallyd-reason": "INVALID_FIELD", "tallyd-outcome": "rejected", "grpc-retry-pushback-ms": ""},
		},
		{
			"defect", errors.New("marker"), codes.Internal,
			map[string]string{"tallyd-reason": "INTERNAL", "tallyd-outcome": "unknown", "grpc-retry-pushback-ms": ""},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var trailer metadata.MD
			err := answering(t, test.err).Invoke(t.Context(), "/any.Service/Any", &emptypb.Empty{}, &emptypb.Empty{}, grpc.Trailer(&trailer))
			if got := status.Code(err); got != test.wantCode {
				t.Errorf("code of %v = %v, want %v", test.err, got, test.wantCode)
			}
			if info := infoOf(t, status.Convert(err)); info.GetReason() != test.wantTrailer["tallyd-reason"] {
				t.Errorf("reason of %v = %v, want %v", test.err, info.GetReason(), test.wantTrailer["tallyd-reason"])
			}
			for key, want := range test.wantTrailer {
				if got := strings.Join(trailer.Get(key), ","); got != want {
					t.Errorf("trailer %s of %v = %q, want %q", key, test.err, got, want)
				}
			}
		})
	}
}

// answering returns a connection to a server that answers everything with one error.
func answering(t *testing.T, failure error) *grpc.ClientConn {
	t.Helper()
	listener := bufconn.Listen(64 << 10)
	server := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		m := toStatus(failure)
		stream.SetTrailer(m.trailer())
		return m.status.Err()
	}))
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil && !errors.Is(err, net.ErrClosed) {
			t.Errorf("Serve() = %v, want a clean end", err)
		}
	})
	dial := grpc.WithContextDialer(listenerDialer(listener))
	conn, err := grpc.NewClient("passthrough:///bufconn", dial, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Errorf("Close() = %v, want nil", err)
		}
	})
	return conn
}
