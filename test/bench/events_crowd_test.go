package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

// mostStreams is how many streams tallyd takes on one connection.
const mostStreams = 1000

// audience is many watchers of one form, in a process that takes orders over HTTP.
type audience struct {
	mu    sync.Mutex
	asked int64   // events that were awaited
	seen  []int64 // events, by watcher
	times []int64 // when the last of them came, in ns since 1970: the clock of all processes
	all   chan struct{}
	total atomic.Int64
}

// serveCrowd is the role of the watchers' process.
func serveCrowd(listener net.Listener) error {
	a := &audience{all: make(chan struct{}, 1)}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /open", func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		watchers, _ := strconv.Atoi(query.Get("watchers"))
		each, _ := strconv.Atoi(query.Get("each"))
		if err := a.open(query.Get("address"), watchers, each); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	mux.HandleFunc("POST /consume", func(w http.ResponseWriter, r *http.Request) {
		if err := a.consume(r.URL.Query().Get("address")); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	mux.HandleFunc("POST /await", a.await)
	return (&http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}).Serve(listener)
}

// open opens watches, so many on each connection, and returns when each has had a sign of life.
func (a *audience) open(address string, watchers, each int) error {
	a.seen, a.times = make([]int64, watchers), make([]int64, watchers)
	var group errgroup.Group
	for first := 0; first < watchers; first += each {
		conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return err
		}
		group.Go(func() error {
			for i := first; i < min(first+each, watchers); i++ {
				if err := a.watch(conn, i); err != nil {
					return fmt.Errorf("watch %d: %w", i, err)
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// watch opens one watch and has it read.
func (a *audience) watch(conn *grpc.ClientConn, i int) error {
	stream, err := tallydv1.NewSubmissionServiceClient(conn).WatchSubmissions(context.Background(),
		&tallydv1.WatchSubmissionsRequest{FormIds: []string{formOf(0)}})
	if err != nil {
		return err
	}
	first, err := stream.Recv()
	if err == nil && first.GetHeartbeat() == nil {
		err = errors.New("the first message is no heartbeat")
	}
	if err == nil {
		go a.read(stream, i)
	}
	return err
}

// read notes when events come. One comes when all have had the one before.
func (a *audience) read(stream grpc.ServerStreamingClient[tallydv1.WatchSubmissionsResponse], i int) {
	for {
		m, err := stream.Recv()
		if err != nil {
			log.Fatalf("watch %d: %v", i, err)
		}
		if m.GetEvent() != nil {
			a.hear(i)
		}
	}
}

func (a *audience) hear(i int) {
	atomic.StoreInt64(&a.times[i], time.Now().UnixNano())
	atomic.AddInt64(&a.seen[i], 1)
	if a.total.Add(1)%int64(len(a.times)) == 0 {
		a.all <- struct{}{}
	}
}

// consume is one watcher in the way of JetStream: an ordered consumer.
func (a *audience) consume(address string) error {
	a.seen, a.times = make([]int64, 1), make([]int64, 1)
	conn, err := nats.Connect(address)
	if err != nil {
		return err
	}
	js, err := jetstream.New(conn)
	if err != nil {
		return err
	}
	consumer, err := js.OrderedConsumer(context.Background(), peerStream, jetstream.OrderedConsumerConfig{})
	if err == nil {
		_, err = consumer.Consume(func(jetstream.Msg) { a.hear(0) })
	}
	return err
}

// await answers when each watcher has had another event, with the times at which it came to each.
func (a *audience) await(w http.ResponseWriter, r *http.Request) {
	select {
	case <-a.all:
	case <-time.After(limit):
		http.Error(w, fmt.Sprintf("%d events came to all watchers together", a.total.Load()), http.StatusGatewayTimeout)
		return
	case <-r.Context().Done():
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked++
	times := make([]int64, len(a.times))
	for i := range times {
		times[i] = atomic.LoadInt64(&a.times[i])
		if seen := atomic.LoadInt64(&a.seen[i]); seen != a.asked {
			http.Error(w, fmt.Sprintf("watcher %d had %d events, want %d", i, seen, a.asked), http.StatusConflict)
			return
		}
	}
	_ = json.NewEncoder(w).Encode(times)
}

// watchers is a crowd, seen from the test.
type watchers struct {
	*process

	count int
}

// gather starts a crowd and has it open watches at an address.
func (f *field) gather(t *testing.T, address string, count, each int) (*watchers, error) {
	t.Helper()
	c := &watchers{f.start(t, self(t, "crowd")), count}
	query := url.Values{"address": {address}, "watchers": {strconv.Itoa(count)}, "each": {strconv.Itoa(each)}}
	_, err := c.order("/open?" + query.Encode())
	return c, err
}

// consumer starts a crowd that is one consumer of JetStream.
func (f *field) consumer(t *testing.T, address string) (*watchers, error) {
	t.Helper()
	c := &watchers{f.start(t, self(t, "crowd")), 1}
	_, err := c.order("/consume?" + url.Values{"address": {address}}.Encode())
	return c, err
}

func (c *watchers) order(path string) (string, error) {
	req, err := http.NewRequest(http.MethodPost, "http://"+c.address+path, http.NoBody)
	if err != nil {
		return "", err
	}
	return askHTTP(&http.Client{Timeout: 2 * limit}, req)
}

// since waits until every watcher has had the event that was sent last, and returns how long after a moment it came to each, in µs.
func (c *watchers) since(sent time.Time) ([]float64, error) {
	said, err := c.order("/await")
	if err != nil {
		return nil, err
	}
	var times []int64
	if err := json.Unmarshal([]byte(said), &times); err != nil {
		return nil, err
	}
	if len(times) != c.count {
		return nil, fmt.Errorf("%d watchers had the event, want %d", len(times), c.count)
	}
	latencies := make([]float64, len(times))
	for i, at := range times {
		latencies[i] = micros(time.Unix(0, at).Sub(sent.Round(0)))
	}
	return latencies, nil
}
