package control

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// answering listens at path and gives every client answer, then closes.
func answering(t *testing.T, path, answer string) {
	t.Helper()
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			conn.Read(make([]byte, 4096))
			io.WriteString(conn, answer)
			conn.Close()
		}
	}()
	t.Cleanup(func() { ln.Close(); <-done })
}

func TestClientErrors(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	killedSocket(t, at("stale"))
	if err := os.WriteFile(at("file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	datagram, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: at("datagram"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer datagram.Close()
	answering(t, at("mute"), "")
	answering(t, at("stranger"), "220 mail.example.com ESMTP\r\n")
	answering(t, at("web"), "HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nsorry")
	answering(t, at("text"), "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nsorry")
	answering(t, at("cut"), "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{\"version\":1,")
	for _, c := range []struct {
		socket   string
		noDaemon bool
		text     string
	}{
		{at("nothing"), true, "no daemon answers: there is no such socket; start it with `systemctl start swerve`"},
		{at("stale"), true, "no daemon answers: connection refused; start it"},
		{at("file"), true, "no daemon answers: connection refused; start it"},
		{at("mute"), true, "no daemon answers: EOF; start it"},
		{at("cut"), true, "no daemon answers: unexpected EOF; start it"},
		{at("datagram"), false, "not a Swerve daemon: protocol wrong type for socket; name its socket"},
		{at("stranger"), false, `malformed HTTP status code "mail.example.com"; name its socket`},
		{at("web"), false, "it answered 404 Not Found; use a client and a daemon of the same version"},
		{at("text"), false, "invalid character"},
		{"", false, "it is empty; name the daemon's socket with --socket"},
		{"/" + strings.Repeat("x", 107), false, "108 bytes, and 107 is the most; name"},
	} {
		client := Dial(c.socket)
		_, err := client.Status(t.Context())
		client.Close()
		var e *Error
		if !errors.As(err, &e) || errors.Is(err, ErrNoDaemon) != c.noDaemon || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v", c.socket, err)
		}
	}
}

// A daemon that dies while it writes a line: the whole lines count, then its end.
func TestClientOfADyingDaemon(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	answering(t, path, "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"+
		`{"type":"daemon","reason":"whole"}`+"\n"+`{"type":"daemon","reason":"ha`)
	client := Dial(path)
	defer client.Close()
	for _, follow := range []bool{false, true} {
		var got []string
		for e, err := range client.Events(t.Context(), time.Time{}, follow) {
			if err != nil {
				got = append(got, err.Error())
				if !errors.Is(err, ErrNoDaemon) {
					t.Errorf("%v", err)
				}
				continue
			}
			got = append(got, reasonOf(e))
		}
		if len(got) != 2 || got[0] != "whole" || !strings.Contains(got[1], "any more: unexpected EOF") {
			t.Errorf("follow %t: %q", follow, got)
		}
	}
}

// A daemon that is stopped (SIGSTOP) accepts and says nothing.
func TestClientDoesNotWaitForEver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client := Dial(path)
	defer client.Close()
	client.patience = 50 * time.Millisecond
	if _, err := client.Status(t.Context()); !errors.Is(err, ErrNoDaemon) || !strings.Contains(err.Error(), "no daemon answers in time; ") {
		t.Errorf("status: %v", err)
	}
	for _, err := range client.Events(t.Context(), time.Time{}, true) {
		if !errors.Is(err, ErrNoDaemon) || !strings.Contains(err.Error(), "in time") {
			t.Errorf("events: %v", err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := client.Status(ctx); !errors.Is(err, context.Canceled) || errors.Is(err, ErrNoDaemon) {
		t.Errorf("a call that its caller ended: %v", err)
	}
	for _, err := range client.Events(ctx, time.Time{}, true) {
		t.Errorf("a stream that its caller ended: %v", err)
	}
}

// Somebody without the right to open the socket learns that, and not that there is
// no daemon.
func TestClientWithoutPermission(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	listenAt(t, path, "")
	for _, dir := range []string{filepath.Dir(path), filepath.Dir(filepath.Dir(path))} {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// The program's own path may not be open to nobody; this one is.
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestAskAsNobody$", "-test.v")
	cmd.Env = append(os.Environ(), "ASK_SOCKET="+path)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "permission denied; run it as root, or as a member of the socket's group") ||
		!strings.Contains(string(out), "no daemon: false") {
		t.Errorf("%v: %s", err, out)
	}
}

// TestAskAsNobody is the other process of TestClientWithoutPermission.
func TestAskAsNobody(t *testing.T) {
	path := os.Getenv("ASK_SOCKET")
	if path == "" {
		return
	}
	client := Dial(path)
	defer client.Close()
	_, err := client.Status(t.Context())
	t.Logf("no daemon: %t, %v", errors.Is(err, ErrNoDaemon), err)
}
