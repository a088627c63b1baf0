package bench

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	signingSecret = "bench-signing-secret"
	// recordBytes is the size of a delivery, and of what every peer writes for one.
	recordBytes = 2048
	// logForms is over how many forms deliveries are spread.
	logForms = 8
	// logWriters is how many write at a time where many do.
	logWriters = 64
)

// record is one event: a delivery's body, and the request that brings it, ready before a clock runs. What signing and writing it costs is
// Tally's.
type record struct {
	form, submission string
	body, request    []byte
}

func formOf(i int) string { return "f" + strconv.Itoa(i%logForms) }

func newRecord(form, submission string) record {
	at := time.Now().UTC().Format("2006-01-02T15:04:05.000Z")
	head := fmt.Appendf(make([]byte, 0, recordBytes), `{"eventId":"e-%s","eventType":"FORM_RESPONSE","createdAt":%q,"data":{"responseId":%q,`+
		`"submissionId":%q,"respondentId":"r1","formId":%q,"formName":"Form","createdAt":%q,"fields":[{"key":"question_q1","label":"Name",`+
		`"type":"TEXTAREA","value":"`, submission, at, submission, submission, form, at)
	const tail = `"}]}}`
	body := append(append(head, bytes.Repeat([]byte("x"), recordBytes-len(head)-len(tail))...), tail...)
	mac := hmac.New(sha256.New, []byte(signingSecret))
	mac.Write(body)
	request := fmt.Appendf(nil, "POST /hooks/%s HTTP/1.1\r\nHost: hooks\r\nContent-Type: application/json\r\nTally-Signature: %s\r\nContent-Length: %d\r\n\r\n",
		form, base64.StdEncoding.EncodeToString(mac.Sum(nil)), len(body))
	return record{form, submission, body, append(request, body...)}
}

// newRecords returns n deliveries over all forms.
func newRecords(prefix string, n int) []record {
	list := make([]record, n)
	for i := range list {
		list[i] = newRecord(formOf(i), prefix+strconv.Itoa(i))
	}
	return list
}

// writer makes a record safe, or says why it is not.
type writer func(record) error

// newPoster is a writer that delivers over one connection that is kept. It does as little as can be, since it is in nobody's figure.
func newPoster(address string) (writer, io.Closer, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, nil, err
	}
	in := bufio.NewReader(conn)
	return func(r record) error {
		if _, err := conn.Write(r.request); err != nil {
			return err
		}
		return readReply(in)
	}, conn, nil
}

// readReply reads the answer to a delivery.
func readReply(in *bufio.Reader) error {
	status, err := in.ReadString('\n')
	if err != nil {
		return err
	}
	length := 0
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return err
		}
		if line = bytes.TrimSpace(line); len(line) == 0 {
			break
		}
		if name, value, _ := bytes.Cut(line, []byte(": ")); bytes.EqualFold(name, []byte("Content-Length")) {
			length, _ = strconv.Atoi(string(value))
		}
	}
	if _, err := in.Discard(length); err != nil {
		return err
	}
	if !bytes.HasPrefix([]byte(status), []byte("HTTP/1.1 200 ")) {
		return fmt.Errorf("a delivery is answered %q", status)
	}
	return nil
}

// posters are n writers to the same address, and what closes their connections.
func posters(address string, n int) (list []writer, closeAll func(), err error) {
	var conns []io.Closer
	closeAll = func() {
		for _, conn := range conns {
			_ = conn.Close()
		}
	}
	for range n {
		post, conn, err := newPoster(address)
		if err != nil {
			return list, closeAll, err
		}
		list, conns = append(list, post), append(conns, conn)
	}
	return list, closeAll, nil
}

// writeAll has writers write records, each its share of them one after the other. It returns how long each record took, sorted, in µs, and
// how long all did.
func writeAll(ctx context.Context, writers []writer, n int, at func(i int) record) (latencies []float64, took time.Duration, err error) {
	latencies = make([]float64, n)
	group, ctx := errgroup.WithContext(ctx)
	begin := time.Now()
	for w, write := range writers {
		group.Go(func() error {
			for i := w; i < n && ctx.Err() == nil; i += len(writers) {
				r := at(i)
				sent := time.Now()
				if err := write(r); err != nil {
					return err
				}
				latencies[i] = micros(time.Since(sent))
			}
			return ctx.Err()
		})
	}
	err = group.Wait()
	took = time.Since(begin)
	slices.Sort(latencies)
	return latencies, took, err
}
