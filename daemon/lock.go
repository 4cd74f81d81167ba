package daemon

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"swerve/control"
)

// One daemon runs in a network namespace. Its lock is an abstract unix socket: the
// kernel separates such names by network namespace and frees them with their
// process, so no file is left behind, and no directory has to be shared.
//
// Any local user may take such a name. So there are several, and a holder that is a
// stranger is ignored: a holder counts if its user is root or our own, as reported
// by the kernel (SO_PEERCRED), or if it may change routes, as the unit's daemon may,
// which is not root. A daemon takes the first free name, and then gives way to a holder
// that counts of any other name.

// lockNames is the number of names; lockName is the first.
const (
	lockNames = 8
	lockName  = "@swerve"
)

func lockAddress(n int) *net.UnixAddr {
	name := lockName
	if n > 0 {
		name += "." + strconv.Itoa(n)
	}
	return &net.UnixAddr{Name: name, Net: "unix"}
}

// lock holds the namespace for as long as the process lives.
type lock struct {
	listener *net.UnixListener
	holder   string
	// number of the name that is held; strangers hold the lower ones.
	number int
	// settled: all others were asked, and none prevents this one from running.
	settled atomic.Bool
	done    sync.WaitGroup
}

// HeldError reports that another daemon runs in this network namespace.
type HeldError struct {
	// Holder as it describes itself, such as "pid 812, socket /run/…".
	Holder string
}

// Error implements error.
func (e *HeldError) Error() string {
	return fmt.Sprintf("this network namespace is held by another swerve (%s)", e.Holder)
}

// hold claims the namespace, or returns a *HeldError that names its holder.
//
// If several daemons start at once, the one with the lowest name continues: it
// ignores later ones that are also starting, and they give way to it.
func hold(socket, config string) (*lock, error) {
	l := &lock{holder: fmt.Sprintf("pid %d, socket %s, config %s", os.Getpid(), socket, config)}
	for ; l.number < lockNames; l.number++ {
		listener, err := net.ListenUnix("unix", lockAddress(l.number))
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("daemon: hold the network namespace: %w", err)
		}
		l.listener = listener
		l.done.Go(l.answer)
		break
	}
	for n := range lockNames {
		if l.listener != nil && n == l.number {
			continue
		}
		h, there := askHolder(n)
		if !there || !h.counts() || h.starting && n > l.number {
			continue
		}
		if l.listener != nil {
			l.release()
		}
		return nil, &HeldError{Holder: h.text}
	}
	if l.listener == nil {
		return nil, fmt.Errorf("daemon: hold the network namespace: strangers hold all of %s to %s; end them",
			lockAddress(0).Name, lockAddress(lockNames-1).Name)
	}
	l.settled.Store(true)
	return l, nil
}

// startingWord precedes a holder's description of itself until it has asked all
// others.
const startingWord = "starting, "

// answer describes the holder to everyone who asks.
func (l *lock) answer() {
	for {
		conn, err := l.listener.Accept()
		if err != nil {
			return
		}
		text := l.holder
		if !l.settled.Load() {
			text = startingWord + text
		}
		_ = conn.SetDeadline(time.Now().Add(time.Second))
		_, _ = fmt.Fprintln(conn, text)
		_ = conn.Close()
	}
}

// release frees the namespace.
func (l *lock) release() {
	_ = l.listener.Close()
	l.done.Wait()
}

// squatters describes the strangers that hold lower names than ours.
func (l *lock) squatters() []string {
	var found []string
	for n := range l.number {
		if h, there := askHolder(n); there && !h.counts() {
			found = append(found, lockAddress(n).Name+" is held by "+h.text)
		}
	}
	return found
}

// squattersAgain is the interval at which names held by strangers are checked
// again.
const squattersAgain = time.Minute

// watch keeps the problem of strangers that hold our names up to date, until ctx
// ends.
func (l *lock) watch(ctx context.Context, p *problems) error {
	for {
		var cause error
		if found := l.squatters(); len(found) > 0 {
			cause = fmt.Errorf("other users hold the names by which one daemon excludes another, and this one uses the next: %s",
				strings.Join(found, ", "))
		}
		p.set("lock", "lock-squatted", control.Warning, cause, "end the processes that are named, or find out what they are")
		if cause == nil {
			return nil // a lower name is free, but a second daemon still asks the holder of ours
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(squattersAgain):
		}
	}
}

// holder is the process that holds a name.
type holder struct {
	peer control.Peer
	// text is its description of itself.
	text string
	// starting: it has not asked all others yet, and may give way.
	starting bool
}

// nobody is the user of a holder whose credentials are unknown.
const nobody = ^uint32(0)

// counts reports whether the holder may keep a daemon from running.
func (h holder) counts() bool {
	return h.peer.UID == 0 || h.peer.UID == uint32(os.Geteuid()) || mayChangeRoutes(h.peer.PID)
}

// mayChangeRoutes reports whether a process has CAP_NET_ADMIN in our user namespace. In
// one of its own every user has it, over nothing.
func mayChangeRoutes(pid int32) bool {
	about := fmt.Sprintf("/proc/%d/", pid)
	status, err := os.ReadFile(about + "status")
	ours, unread := os.ReadFile("/proc/self/uid_map")
	theirs, gone := os.ReadFile(about + "uid_map")
	if pid <= 0 || errors.Join(err, unread, gone) != nil || !bytes.Equal(ours, theirs) {
		return false
	}
	_, effective, _ := strings.Cut(string(status), "\nCapEff:\t")
	effective, _, _ = strings.Cut(effective, "\n")
	caps, err := strconv.ParseUint(effective, 16, 64)
	return err == nil && caps&(1<<unix.CAP_NET_ADMIN) != 0
}

// askHolder asks the process that holds a name to identify itself; it reports false
// if no process holds it. A process that does not accept a connection is a
// stranger: a daemon always accepts.
func askHolder(n int) (h holder, there bool) {
	for begin := time.Now(); ; time.Sleep(time.Millisecond) {
		h, there, err := askOnce(n)
		// A daemon that gives way closes the connections in its queue; the name is
		// then free.
		if err == nil || time.Since(begin) > time.Second {
			return h, there
		}
	}
}

// askOnce is askHolder without the retries: it returns an error if a holder that
// counts did not answer.
func askOnce(n int) (h holder, there bool, err error) {
	h.peer.UID = nobody
	conn, err := net.DialTimeout("unix", lockAddress(n).Name, time.Second)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return h, false, nil
	}
	if err != nil {
		h.text = "a process that takes no connection"
		return h, true, nil
	}
	defer conn.Close()
	if peer, err := control.ReadPeer(conn); err == nil {
		h.peer = peer
	}
	h.text = fmt.Sprintf("pid %d of user %d", h.peer.PID, h.peer.UID)
	if !h.counts() {
		return h, true, nil
	}
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		h.text += ", which does not say who it is: " + err.Error()
		return h, true, err
	}
	h.text, h.starting = strings.CutPrefix(strings.TrimSpace(line), startingWord)
	return h, true, nil
}
