package main

import (
	"crypto/x509"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestRootsWithoutFiles holds that a process which finds no authorities, as in an image without files, has those that are linked in.
func TestRootsWithoutFiles(t *testing.T) {
	if os.Getenv("TALLYD_TEST_ROOTS") != "" {
		pool, err := x509.SystemCertPool()
		if err != nil || pool.Equal(x509.NewCertPool()) {
			t.Errorf("SystemCertPool() = an empty pool, %v, want the authorities that are linked in", err)
		}
		return
	}
	again := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestRootsWithoutFiles$", "-test.v")
	again.Env = append(os.Environ(), "TALLYD_TEST_ROOTS=1", "SSL_CERT_FILE=/nonexistent", "SSL_CERT_DIR=/nonexistent")
	if output, err := again.CombinedOutput(); err != nil || !strings.Contains(string(output), "PASS") {
		t.Errorf("without files: %v\n%s", err, output)
	}
}
