package mesh

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"google.golang.org/grpc"
)

// nginx is a running nginx with its default buffers, in front of replicas.
type nginx struct {
	*process

	dir, address, server string
	// entry is what callers call through.
	entry *grpc.ClientConn
}

// findNginx returns the program, or fails with the way to get it.
func findNginx(t *testing.T) string {
	t.Helper()
	if !*withNginx {
		t.Skip("needs nginx: make test-mesh runs this")
	}
	for _, place := range []string{"nginx", "/usr/sbin/nginx", filepath.Join("..", "..", "bin", "nginx", "usr", "sbin", "nginx")} {
		if path, err := exec.LookPath(place); err == nil {
			path, err = filepath.Abs(path)
			if err != nil {
				t.Fatal(err)
			}
			return path
		}
	}
	t.Fatal("nginx is missing: test/mesh/setup.sh installs it")
	return ""
}

// newNginx starts nginx in front of replicas. What is set beyond the default goes into its server.
func newNginx(t *testing.T, server string, replicas ...*process) *nginx {
	t.Helper()
	program := findNginx(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	socket, err := listener.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	n := &nginx{dir: t.TempDir(), address: listener.Addr().String(), server: server}
	n.configure(t, replicas)
	n.process = launch(t, []string{"NGINX=3;"}, []*os.File{socket}, program, "-p", n.dir, "-c", filepath.Join(n.dir, "nginx.conf"), "-e", "stderr")
	// From here on the socket is nginx's alone.
	socket.Close()
	listener.Close()
	return n
}

// configure writes the configuration.
func (n *nginx) configure(t *testing.T, replicas []*process) {
	t.Helper()
	var text, servers strings.Builder
	if os.Getuid() == 0 {
		// The folders of the test are not for others.
		text.WriteString("user root;\n")
	}
	for _, p := range replicas {
		fmt.Fprintf(&servers, "server %s max_fails=0; ", p.address)
	}
	fmt.Fprintf(&text, `daemon off;
master_process on;
worker_processes 2;
pid nginx.pid;
error_log stderr warn;
events { }
http {
	access_log off;
	client_body_temp_path body;
	proxy_temp_path proxy;
	fastcgi_temp_path fastcgi;
	uwsgi_temp_path uwsgi;
	scgi_temp_path scgi;
	upstream tallyd { %s }
	server {
		listen %s http2;
		%s
		location / { grpc_pass grpc://tallyd; }
	}
}
`, servers.String(), n.address, n.server)
	if err := os.WriteFile(filepath.Join(n.dir, "nginx.conf"), []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}

// use makes the replicas known in place of those before, as an ingress controller does.
func (n *nginx) use(t *testing.T, replicas []*process) {
	t.Helper()
	n.configure(t, replicas)
	n.signal(t, syscall.SIGHUP)
}

func (n *nginx) conn() *grpc.ClientConn { return n.entry }
