package faults

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

// TestRequestSize covers row 77: a request over 4 MiB is refused as too large; one below it reaches the rules of the contract.
func TestRequestSize(t *testing.T) {
	t.Parallel()
	tally := newTally(t, alive(aForm))
	forms := tallydv1.NewFormServiceClient(serveWith(t, tally, newKey()).dial(t))
	for size, want := range map[int]codes.Code{5 << 20: codes.ResourceExhausted, 3 << 20: codes.InvalidArgument} {
		_, err := forms.GetForm(t.Context(), &tallydv1.GetFormRequest{FormId: strings.Repeat("x", size)})
		if status.Code(err) != want {
			t.Errorf("GetForm() with %d MiB = %v, want %v", size>>20, status.Code(err), want)
		}
	}
	if got := tally.seen(); len(got) != 0 {
		t.Errorf("Tally saw %d requests, want none", len(got))
	}
}

// TestMetadataSize covers the other half of row 77: more than 16 KiB of metadata is refused, however it is cut into frames, and the
// process goes on.
func TestMetadataSize(t *testing.T) {
	t.Parallel()
	tally := newTally(t, alive(aForm))
	p := serveWith(t, tally, newKey())
	message := encode(t, &tallydv1.GetFormRequest{FormId: "f1"})
	const method = "/tallyd.v1.FormService/GetForm"
	var small []field
	for range 20 << 10 / 64 {
		small = append(small, field{"x-small", strings.Repeat("s", 24)})
	}
	tests := []struct {
		name     string
		more     []field
		wantOpen bool
	}{
		{"8 KiB", []field{{"x-big", strings.Repeat("b", 8<<10)}}, true},
		{"20 KiB", []field{{"x-big", strings.Repeat("b", 20<<10)}}, false},
		{"20 KiB in small ones", small, false},
		{"1 MiB", []field{{"x-big", strings.Repeat("b", 1<<20)}}, false},
	}
	for _, test := range tests {
		before := len(tally.seen())
		e := connectAndSend(t, p, usual(method, test.more...), message)
		if open := e.headers["grpc-status"] == "0"; open != test.wantOpen {
			t.Errorf("metadata of %s ended in %v, want success to be %v", test.name, e.headers, test.wantOpen)
		}
		if reached := len(tally.seen()) > before; reached != test.wantOpen {
			t.Errorf("metadata of %s reached Tally: %v, want %v", test.name, reached, test.wantOpen)
		}
	}
	if code, _ := get(t, p.admin+"/livez"); code != http.StatusOK {
		t.Errorf("GET /livez afterwards = %d, want 200", code)
	}
}

// bytesCodec sends what it is given, so that a test can send what no Go program would encode.
type bytesCodec struct{ encoding.CodecV2 }

func (bytesCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.([]byte))}, nil
}

func (bytesCodec) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}

func (bytesCodec) Name() string { return "proto" }

// TestBrokenRequests covers row 78: what no protobuf library would write ends in an error, and Tally hears nothing of it.
func TestBrokenRequests(t *testing.T) {
	t.Parallel()
	tally := newTally(t, alive(aForm))
	conn := serveWith(t, tally, newKey()).dial(t, grpc.WithDefaultCallOptions(grpc.ForceCodecV2(bytesCodec{})))
	tests := []struct{ name, method, message string }{
		{"lone bytes", "FormService/GetForm", "\x0a\x02\xff\xfe"},
		{"surrogate", "FormService/GetForm", "\x0a\x03\xed\xa0\x80"},
		{"overlong slash", "FormService/GetForm", "\x0a\x04\xc0\xaf\xc0\xaf"},
		{"name of a write", "FormService/UpdateForm", "\x0a\x02f1\x12\x03n\xff\xfe"},
		{"inside a message", "WebhookService/CreateWebhook", "\x0a\x02f1\x12\x15https://hooks.example\x2a\x08\x0a\x06\x0a\x01\xff\x12\x01\xff"},
		{"cut short", "FormService/GetForm", "\x0a\x09f1"},
		{"length beyond all", "FormService/GetForm", "\x0a\xff\xff\xff\xff\x0ff1"},
		{"bad tag", "FormService/GetForm", "\x0a\x02f1\x07"},
		{"group without end", "FormService/GetForm", "\x0a\x02f1\x7b"},
		{"ten thousand groups", "FormService/GetForm", "\x0a\x02f1" + strings.Repeat("\x7b", 20_000) + strings.Repeat("\x7c", 20_000)},
	}
	for _, test := range tests {
		var answer []byte
		err := conn.Invoke(t.Context(), "/tallyd.v1."+test.method, []byte(test.message), &answer)
		if code := status.Code(err); code != codes.InvalidArgument && code != codes.Internal {
			t.Errorf("%s = %v, want InvalidArgument or Internal", test.name, err)
		}
	}
	if got := tally.seen(); len(got) != 0 {
		t.Errorf("Tally saw %v, want nothing", got)
	}
	var answer []byte
	if err := conn.Invoke(t.Context(), "/tallyd.v1.FormService/GetForm", []byte("\x0a\x02f1"), &answer); err != nil {
		t.Errorf("a sound request = %v, want nil", err)
	}
}

// packed is gzip for a client whose messages are packed already.
type packed struct{}

func (packed) Name() string { return "gzip" }

func (packed) Compress(w io.Writer) (io.WriteCloser, error) { return unclosed{w}, nil }

func (packed) Decompress(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) }

type unclosed struct{ io.Writer }

func (unclosed) Close() error { return nil }

// pack compresses a message; repeated, it inflates to that many times its size, as gzip allows.
func pack(t *testing.T, message []byte, times int) []byte {
	t.Helper()
	var small bytes.Buffer
	z := gzip.NewWriter(&small)
	if _, err := z.Write(message); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return bytes.Repeat(small.Bytes(), times)
}

// TestCompressedRequests covers row 79: a request that inflates beyond the limit is refused at the limit, without the memory that it
// asks for; an honest one is answered.
func TestCompressedRequests(t *testing.T) {
	t.Parallel()
	tally := newTally(t, alive(aForm))
	p := serveWith(t, tally, newKey())
	conn := p.dial(t, grpc.WithDefaultCallOptions(grpc.ForceCodecV2(bytesCodec{}), grpc.UseCompressor(packed{}.Name())))
	call := func(message []byte) error {
		var answer []byte
		return conn.Invoke(t.Context(), "/tallyd.v1.FormService/GetForm", message, &answer)
	}
	if err := call(pack(t, []byte("\x0a\x02f1"), 1)); err != nil {
		t.Errorf("a compressed request = %v, want nil", err)
	}
	before := p.peak(t)
	for _, times := range []int{5, bomb} {
		if err := call(pack(t, make([]byte, 1<<20), times)); status.Code(err) != codes.ResourceExhausted {
			t.Errorf("a request that inflates to %d MiB = %v, want ResourceExhausted", times, err)
		}
	}
	if grown := p.peak(t) - before; grown > bomb/4 {
		t.Errorf("the peak of memory grew by %d MiB under a bomb of %d MiB, want a fraction of it", grown, bomb)
	}
	if got := tally.seen(); len(got) != 1 {
		t.Errorf("Tally saw %d requests, want the honest one", len(got))
	}
}

// bomb is to how many MiB a request inflates that is itself small enough to be let in.
const bomb = 256

// peak returns the most memory in MiB that the process ever had in use.
func (p *process) peak(t *testing.T) int {
	t.Helper()
	match := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindStringSubmatch(p.file(t, "status"))
	if match == nil {
		t.Skip("this system does not tell the peak of a process")
	}
	kilobytes, err := strconv.Atoi(match[1])
	if err != nil {
		t.Fatal(err)
	}
	return kilobytes >> 10
}

// TestPingFlood covers row 83: a client that pings every 10 ms is told to calm down and is cut off, and others are not.
func TestPingFlood(t *testing.T) {
	t.Parallel()
	p := serveWith(t, newTally(t, alive(aForm)), newKey())
	w := connect(t, p.address)
	flood := make(chan struct{})
	var pinging sync.WaitGroup
	pinging.Go(func() {
		every := time.NewTicker(10 * time.Millisecond)
		defer every.Stop()
		for !closed(flood) {
			<-every.C
			// An error is the end of the connection, which the reader sees.
			_ = w.frames.WritePing(false, [8]byte{})
		}
	})
	e := w.end(t)
	if e.goAway == nil || *e.goAway != http2.ErrCodeEnhanceYourCalm {
		t.Errorf("the flood ended in %+v, want GOAWAY with ENHANCE_YOUR_CALM", e)
	}
	if last := w.end(t); !last.closed {
		t.Errorf("after GOAWAY came %+v, want the end of the connection", last)
	}
	close(flood)
	pinging.Wait()
	if _, err := tallydv1.NewFormServiceClient(p.dial(t)).GetForm(t.Context(), &tallydv1.GetFormRequest{FormId: "f1"}); err != nil {
		t.Errorf("GetForm() of another client = %v, want nil", err)
	}
}
