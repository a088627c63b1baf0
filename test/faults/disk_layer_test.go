package faults

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// watchedProgram names, in the environment of this test's own binary, the program that it becomes after it has handed its parent the
// means to answer its fsyncs.
const watchedProgram = "TALLYD_TEST_WATCHED"

// smallDisk names a directory in which the program finds a file system of its own, and what to mount it with.
const smallDisk = "TALLYD_TEST_SMALL_DISK"

// launchSmall starts tallyd with a small disk of its own in a directory, in name spaces of its own, which needs no root.
func launchSmall(t *testing.T, dir, options string, args []string) *process {
	t.Helper()
	binary, err := build()
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	env := []string{watchedProgram + "=" + binary, smallDisk + "=" + dir + "," + options}
	return start(t, self, env, args, func(c *exec.Cmd) {
		c.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		}
	})
}

// inside is where the files of a process with a small disk are for others.
func (p *process) inside(path string) string {
	return filepath.Join("/proc", strconv.Itoa(p.command.Process.Pid), "root", path)
}

// disk is a file layer that can fail: every fsync of a process waits for its answer. The kernel asks it (seccomp's user notification), so
// that the process under test is the real one, and neither root nor another file system is needed.
type disk struct {
	listener int
	done     chan struct{}

	mu     sync.Mutex
	fail   func(path string) syscall.Errno // of an fsync; nil for none
	images map[string][]byte               // what each file held when it was synced last
}

// launchOn starts tallyd on a disk, with an environment of nothing but env.
func launchOn(t *testing.T, args []string, env ...string) (*process, *disk) {
	t.Helper()
	binary, err := build()
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs, err := socketPair()
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	d := &disk{done: make(chan struct{}), images: map[string][]byte{}}
	answered := false
	t.Cleanup(func() { // after the process has ended
		if answered {
			<-d.done
		}
	})
	p := start(t, self, append(env, watchedProgram+"="+binary), args, func(c *exec.Cmd) { c.ExtraFiles = []*os.File{theirs} })
	if d.listener, err = receive(ours); err != nil {
		t.Fatalf("this system lets nobody answer for a disk: %v", err)
	}
	answered = true
	go d.answer()
	return p, d
}

func socketPair() (*net.UnixConn, *os.File, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	ours := os.NewFile(uintptr(pair[0]), "ours")
	defer ours.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		return nil, nil, err
	}
	return conn.(*net.UnixConn), os.NewFile(uintptr(pair[1]), "theirs"), nil
}

// receive returns the file that the other end hands over.
func receive(conn *net.UnixConn) (int, error) {
	defer conn.Close()
	control := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := conn.ReadMsgUnix(make([]byte, 1), control)
	if err != nil {
		return 0, err
	}
	messages, err := unix.ParseSocketControlMessage(control[:n])
	if err != nil || len(messages) == 0 {
		return 0, errors.Join(errors.New("no file came"), err)
	}
	files, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(files) == 0 {
		return 0, errors.Join(errors.New("no file came"), err)
	}
	return files[0], nil
}

// becomeWatched asks the kernel to let the parent answer for fsync, hands the parent the means and becomes the program.
func becomeWatched(program string) {
	runtime.LockOSThread() // the filter is this thread's, and so is what comes of it
	prepare := handOver
	if dir, options, small := strings.Cut(os.Getenv(smallDisk), ","); small {
		prepare = func() error { return unix.Mount("tmpfs", dir, "tmpfs", 0, options) }
	}
	failed := prepare()
	if failed == nil {
		env := []string{}
		for _, line := range os.Environ() {
			if !strings.HasPrefix(line, "TALLYD_TEST_") {
				env = append(env, line)
			}
		}
		failed = syscall.Exec(program, append([]string{program}, os.Args[1:]...), env)
	}
	fmt.Fprintln(os.Stderr, "become the program under test:", failed)
	os.Exit(1)
}

// handOver gives the parent the means to answer for fsync.
func handOver() error {
	listener, err := listenForSyncs()
	if err != nil {
		return err
	}
	err = unix.Sendmsg(3, []byte{0}, unix.UnixRights(listener), nil, 0)
	return errors.Join(err, unix.Close(listener), unix.Close(3))
}

func listenForSyncs() (int, error) {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return 0, err
	}
	const callNumber = 0 // offset in seccomp_data
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: callNumber},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_FSYNC, Jt: 1},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_FDATASYNC, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_USER_NOTIF},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	listener, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return 0, errno
	}
	return int(listener), nil
}

// question and verdict are the kernel's struct seccomp_notif and seccomp_notif_resp.
type question struct {
	id         uint64
	pid, flags uint32
	call       int32
	arch       uint32
	at         uint64
	args       [6]uint64
}

type verdict struct {
	id    uint64
	value int64
	errno int32
	flags uint32
}

const (
	receiveQuestion = 0xc0502100 // SECCOMP_IOCTL_NOTIF_RECV
	sendReply       = 0xc0182101 // SECCOMP_IOCTL_NOTIF_SEND
	carryOut        = 1          // SECCOMP_USER_NOTIF_FLAG_CONTINUE
)

// answer answers until the process is gone.
func (d *disk) answer() {
	defer close(d.done)
	defer unix.Close(d.listener)
	for {
		ready := []unix.PollFd{{Fd: int32(d.listener), Events: unix.POLLIN}}
		if _, err := unix.Poll(ready, -1); errors.Is(err, unix.EINTR) {
			continue
		}
		if ready[0].Revents&unix.POLLIN == 0 {
			return
		}
		q := question{}
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(d.listener), receiveQuestion, uintptr(unsafe.Pointer(&q))); errno != 0 {
			continue // whoever asked is gone
		}
		r := verdict{id: q.id, flags: carryOut}
		if errno := d.sync(q); errno != 0 {
			r.flags, r.errno = 0, -int32(errno)
		}
		_, _, _ = unix.Syscall(unix.SYS_IOCTL, uintptr(d.listener), sendReply, uintptr(unsafe.Pointer(&r)))
	}
}

// sync decides about an fsync, and remembers what it makes safe.
func (d *disk) sync(q question) syscall.Errno {
	link := filepath.Join("/proc", strconv.Itoa(int(q.pid)), "fd", strconv.FormatUint(q.args[0], 10))
	path, err := os.Readlink(link)
	if err != nil {
		return 0
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fail != nil {
		if errno := d.fail(path); errno != 0 {
			return errno
		}
	}
	if content, err := os.ReadFile(path); err == nil && strings.HasSuffix(path, ".blk") {
		d.images[path] = content
	}
	return 0
}

// failing makes fsyncs fail from now on; nil for none.
func (d *disk) failing(fail func(path string) syscall.Errno) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fail = fail
}
