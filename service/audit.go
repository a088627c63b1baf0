package service

import (
	"context"
	"io"
	"log/slog"
	"os"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
	"github.com/tallyd/tallyd/service/policy"
	"github.com/tallyd/tallyd/service/tally"
)

// auditUnary writes one record for each write and each denial, whatever became of it: who, what, on which resource, with which
// outcome. Never an answer, and never a sample.
func (s *Server) auditUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	resp, err := next(ctx, req)
	if s.config.Audit != nil && contractCall(info.FullMethod) {
		asked, _ := req.(proto.Message)
		answer, _ := resp.(proto.Message)
		s.audit(ctx, info.FullMethod, asked, answer, err)
	}
	return resp, err
}

func (s *Server) audit(ctx context.Context, fullMethod string, req, resp proto.Message, err error) {
	r := recordOf(ctx)
	reason, shadow := r.verdict()
	denied := isDenial(reason)
	if effectOf(fullMethod) == tally.Read && !denied && shadow == "" {
		return
	}
	attrs := []slog.Attr{
		slog.String("request_id", r.id), slog.String("method", short(fullMethod)), slog.String("code", status.Code(err).String()),
	}
	attrs = append(attrs, r.callerAttrs()...)
	if from, ok := peer.FromContext(ctx); ok {
		attrs = append(attrs, slog.String("peer", from.Addr.String()))
	}
	if reason != "" {
		attrs = append(attrs, slog.String("reason", reason), slog.String("outcome", r.outcomeText()))
	}
	var touched []any
	for _, id := range policy.Touched(fullMethod, req, resp) {
		touched = append(touched, slog.String(id.Field, id.Value))
	}
	attrs = append(attrs, slog.Group("resource", touched...))
	ctx = context.WithoutCancel(ctx)
	switch {
	case denied:
		s.config.Audit.LogAttrs(ctx, slog.LevelWarn, "denied", attrs...)
	case shadow != "":
		s.config.Audit.LogAttrs(ctx, slog.LevelWarn, "would be denied", attrs...)
	default:
		s.config.Audit.LogAttrs(ctx, slog.LevelInfo, "write", attrs...)
	}
}

func isDenial(reason string) bool {
	return reason == reasonName(tallydv1.ErrorReason_ERROR_REASON_CALLER_NOT_ALLOWED) ||
		reason == reasonName(tallydv1.ErrorReason_ERROR_REASON_CALLER_UNAUTHENTICATED)
}

// verdicts of the doors, told to the record.

func (r *record) setCaller(name, source string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.caller, r.source = name, source
}

func (r *record) setRule(rule string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rule = rule
}

// overlook notes what a policy that counts would have said.
func (r *record) overlook(why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.shadow = why
}

func (r *record) verdict() (reason, shadow string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.reason, r.shadow
}

func (r *record) outcomeText() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return string(r.outcome)
}

// auditFile is a file of audit records, opened again when it was moved away: whoever rotates it needs no signal.
type auditFile struct {
	path string
	file *os.File
}

// OpenAuditFile opens a file for audit records, which are appended. It returns the error of the operating system.
func OpenAuditFile(path string) (io.Writer, error) {
	a := &auditFile{path: path}
	return a, a.open()
}

func (a *auditFile) open() (err error) {
	a.file, err = os.OpenFile(a.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	return err
}

// Write appends one record.
func (a *auditFile) Write(p []byte) (int, error) {
	at, err := os.Stat(a.path)
	own, ownErr := a.file.Stat()
	if err != nil || ownErr != nil || !os.SameFile(at, own) {
		_ = a.file.Close()
		if err := a.open(); err != nil {
			return 0, err
		}
	}
	return a.file.Write(p)
}

// NewAuditLog returns a log of audit records for a sink that gets nothing else. Records that cannot be written are told to failed.
func NewAuditLog(sink io.Writer, failed func(error)) *slog.Logger {
	return slog.New(slog.NewJSONHandler(&auditSink{sink: sink, failed: failed}, nil))
}

type auditSink struct {
	sink   io.Writer
	failed func(error)
	mu     sync.Mutex
}

// Write writes one record.
func (a *auditSink) Write(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	n, err := a.sink.Write(p)
	if err != nil {
		a.failed(err)
	}
	return n, err
}
