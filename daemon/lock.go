package daemon

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

// lockName is an abstract unix socket. The kernel keeps such names apart by
// network namespace and frees them with their process, which is just what "one
// daemon a namespace" means: no file is left over, and none has to be shared.
const lockName = "@swerve"

// lock holds the namespace for as long as the process lives.
type lock struct {
	listener *net.UnixListener
	holder   string
	done     sync.WaitGroup
}

// HeldError says that another daemon runs in this network namespace.
type HeldError struct {
	// Holder as it describes itself, such as "pid 812, socket /run/…".
	Holder string
}

// Error implements error.
func (e *HeldError) Error() string {
	return fmt.Sprintf("this network namespace is held by another swerve (%s)", e.Holder)
}

// hold claims the namespace, or returns a *HeldError that names its holder.
func hold(socket, config string) (*lock, error) {
	addr := &net.UnixAddr{Name: lockName, Net: "unix"}
	listener, err := net.ListenUnix("unix", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, &HeldError{Holder: askHolder(addr)}
	}
	if err != nil {
		return nil, fmt.Errorf("daemon: hold the network namespace: %w", err)
	}
	l := &lock{listener: listener, holder: fmt.Sprintf("pid %d, socket %s, config %s", os.Getpid(), socket, config)}
	l.done.Go(l.answer)
	return l, nil
}

// answer names the holder to everyone who asks.
func (l *lock) answer() {
	for {
		conn, err := l.listener.Accept()
		if err != nil {
			return
		}
		_ = conn.SetDeadline(time.Now().Add(time.Second))
		_, _ = fmt.Fprintln(conn, l.holder)
		_ = conn.Close()
	}
}

// release frees the namespace.
func (l *lock) release() {
	_ = l.listener.Close()
	l.done.Wait()
}

// askHolder asks the process that has the name who it is.
func askHolder(addr *net.UnixAddr) string {
	conn, err := net.DialTimeout("unix", addr.Name, time.Second)
	if err != nil {
		return "which does not answer: " + err.Error()
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return "which does not say who it is: " + err.Error()
	}
	return strings.TrimSpace(line)
}

// Holder reports who runs in this network namespace; empty when nobody does.
func Holder() string {
	l, err := hold("", "")
	var held *HeldError
	switch {
	case errors.As(err, &held):
		return held.Holder
	case err != nil:
		return err.Error()
	}
	l.release()
	return ""
}
