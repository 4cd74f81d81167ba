package control

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxSocketPath is the longest path that a unix socket's address holds, one byte
// of its 108 being the closing zero (unix(7)).
const maxSocketPath = 107

// Modes of the socket: for its owner alone, and for its group too.
const (
	privateMode = 0o600
	groupMode   = 0o660
)

// Listener is a unix socket that waits for clients, and its file.
type Listener struct {
	path     string
	unix     *net.UnixListener
	file     fs.FileInfo // the socket's file as we made it
	problems []Problem
	close    func() error
}

// Listen makes the socket at path, and the folders above it where they are missing
// (mode 0755). The socket gets mode 0660 and the group of that name; without such
// a group, or where it may not be given, it gets 0600, which Problems reports. An
// empty group asks for 0600.
//
// A socket that a dead process left behind is replaced. One on which somebody
// answers is not, nor is a file of another kind: the error names it.
func Listen(path, group string) (*Listener, error) {
	l, err := listen(path)
	if err != nil {
		return nil, &Error{Action: "listen on", Object: path, Cause: err, Remedy: listenRemedy(err)}
	}
	if err := l.share(group); err != nil {
		l.problems = append(l.problems, Problem{
			Code: "socket-group", Severity: Info, Object: path, Since: At(time.Now()),
			Text:   fmt.Sprintf("only its owner may use the socket: %v", err),
			Remedy: fmt.Sprintf("groupadd --system %s, then restart the daemon; or name another group as control.group", group),
		})
	}
	return l, nil
}

func listen(path string) (*Listener, error) {
	if err := checkSocketPath(path); err != nil {
		return nil, err
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	unlock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := removeStale(path); err != nil {
		return nil, err
	}
	return bind(path)
}

// errBadPath is in the chain when no socket can be at a path.
var errBadPath = errors.New("not a path for a socket")

func checkSocketPath(path string) error {
	switch {
	case path == "":
		return fmt.Errorf("%w: it is empty", errBadPath)
	case strings.HasPrefix(path, "@"):
		return fmt.Errorf("%w: an abstract one has no owner and no mode", errBadPath)
	case strings.ContainsRune(path, 0):
		return fmt.Errorf("%w: it contains a zero byte", errBadPath)
	case len(path) > maxSocketPath:
		return fmt.Errorf("%w: it has %d bytes, and %d is the most", errBadPath, len(path), maxSocketPath)
	}
	return nil
}

// lockDir keeps two daemons that start at once from taking each other's fresh
// socket for a stale one. The kernel drops the lock with its holder.
func lockDir(dir string) (unlock func(), err error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	deadline := time.Now().Add(2 * time.Second)
	for {
		err := unix.Flock(int(d.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { d.Close() }, nil
		}
		if err != unix.EWOULDBLOCK && err != unix.EINTR || time.Now().After(deadline) {
			d.Close()
			return nil, fmt.Errorf("lock %s: %w", dir, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// liveError says that a running process has the socket.
type liveError struct{ holder string }

func (e *liveError) Error() string { return e.holder + " answers there" }

var errNotSocket = errors.New("there is a file that is not a socket")

func listenRemedy(err error) string {
	var live *liveError
	switch {
	case errors.As(err, &live):
		return "stop that process, or give this one another control.socket"
	case errors.Is(err, errNotSocket):
		return "remove it, or name another control.socket"
	case errors.Is(err, fs.ErrPermission):
		return "run the daemon as root or by its unit, or name a control.socket that it may make"
	}
	return "name another control.socket"
}

// removeStale removes the socket of a dead process: the kernel refuses connections
// to it. Anything else at path is an error.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return errNotSocket
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		defer conn.Close()
		return &liveError{holderOf(conn)}
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return err // such as EAGAIN: somebody listens, but has no time just now
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func holderOf(conn net.Conn) string {
	peer, err := ReadPeer(conn)
	if err != nil {
		return "another process"
	}
	return "process " + strconv.Itoa(int(peer.PID))
}

// bind makes the socket with mode 0600 from its first moment on: bind(2) takes the
// mode from the socket itself, so that nobody gets in before the group is set.
func bind(path string) (*Listener, error) {
	addr := &net.UnixAddr{Name: path, Net: "unix"}
	ln, err := listenPrivate(addr)
	if err != nil {
		return nil, err
	}
	ln.SetUnlinkOnClose(false) // Close does, with care
	info, err := os.Lstat(path)
	if err != nil {
		ln.Close()
		return nil, err
	}
	l := &Listener{path: path, unix: ln, file: info}
	l.close = sync.OnceValue(l.closeOnce)
	return l, nil
}

// share opens the socket to the group.
func (l *Listener) share(group string) error {
	if group == "" {
		return nil
	}
	gid, err := GroupID(group)
	if err != nil {
		return err
	}
	// A confined process may not be allowed to call chown at all, and need not: the
	// socket has its group already.
	if stat, ok := l.file.Sys().(*syscall.Stat_t); ok && int(stat.Gid) == gid {
		err = nil
	} else {
		err = os.Lchown(l.path, -1, gid)
	}
	if err != nil {
		return fmt.Errorf("give it to group %s: %w", group, err)
	}
	if err := os.Chmod(l.path, groupMode); err != nil {
		return fmt.Errorf("open it to group %s: %w", group, err)
	}
	return nil
}

// GroupID returns the number of a group of this machine, given by its name or, without
// being known here, by its number.
func GroupID(name string) (gid int, err error) {
	g, err := user.LookupGroup(name)
	if err != nil {
		if n, err := strconv.ParseUint(name, 10, 31); err == nil {
			return int(n), nil
		}
		return 0, fmt.Errorf("no group %s on this machine", name)
	}
	return strconv.Atoi(g.Gid)
}

// Path is the socket's.
func (l *Listener) Path() string { return l.path }

// Reachable reports whether the socket's file is still there: without it nobody finds the
// socket.
func (l *Listener) Reachable() bool {
	info, err := os.Lstat(l.path)
	return err == nil && os.SameFile(info, l.file)
}

// Problems are what a person should know about the socket: "socket-group" when it
// could not be given to its group.
func (l *Listener) Problems() []Problem { return l.problems }

// Close stops listening and removes the socket's file, unless another process put
// its own there meanwhile. [Server.Serve] does it too; a second Close does nothing.
func (l *Listener) Close() error { return l.close() }

func (l *Listener) closeOnce() error {
	if l.Reachable() {
		os.Remove(l.path)
	}
	return l.unix.Close()
}
