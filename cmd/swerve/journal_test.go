package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"swerve/config"
	"swerve/daemon"
)

// With standard error in the journal, each line is an entry with fields; it goes on
// over a restart of journald, and by standard error while that is away.
func TestJournalEntries(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "socket")
	journald := listenJournal(t, path)
	stderr, err := os.Create(filepath.Join(folder, "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	defer stderr.Close()
	info, err := stderr.Stat()
	if err != nil {
		t.Fatal(err)
	}
	s := info.Sys().(*syscall.Stat_t)
	t.Setenv("JOURNAL_STREAM", fmt.Sprintf("%d:%d", s.Dev, s.Ino))
	c := config.Log{Level: "info", Format: "auto"}
	sink := dialJournal(c, stderr, path)
	if sink == nil {
		t.Fatal("the journal is not found")
	}
	queue := daemon.NewLogQueue(sink)
	defer queue.Close()
	log := slog.New(newEntryHandler(queue, &slog.HandlerOptions{Level: slog.LevelInfo}))
	log.With("policy", "default").Warn("uplink down", "event", "health", "uplink", "lte", "family", slog.StringValue("ipv4"),
		"reason", "0 of 3 targets answer\nUPLINK=other")
	got := receive(t, journald)
	for _, want := range []string{"MESSAGE=msg=\"uplink down\" policy=default event=health uplink=lte ", "PRIORITY=4\n", "SYSLOG_IDENTIFIER=swerve\n",
		"EVENT=health\n", "UPLINK=lte\n", "FAMILY=ipv4\n", "POLICY=default\n",
		"REASON\n\x22\x00\x00\x00\x00\x00\x00\x000 of 3 targets answer\nUPLINK=other\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("the entry has no %q:\n%q", want, got)
		}
	}
	if strings.Contains(got, "time=") || strings.Contains(got, "level=") {
		t.Errorf("the entry has its time twice: %q", got)
	}
	journald.Close()
	os.Remove(path)
	log.Error("meanwhile", "event", "daemon")
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		text, err := os.ReadFile(stderr.Name())
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("standard error has %q (%v)", text, err)
		}
		if bytes.Contains(text, []byte("<3>msg=meanwhile event=daemon\n")) {
			break
		}
	}
	journald = listenJournal(t, path)
	defer journald.Close()
	log.Info("again")
	if got := receive(t, journald); !strings.HasPrefix(got, "MESSAGE=msg=again\nPRIORITY=6\n") {
		t.Errorf("after the restart: %q", got)
	}
}

// Where standard error is something else, the journal is not addressed, whatever the
// variable of the surrounding session says.
func TestJournalIsOnlyUsedAsStandardError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	defer listenJournal(t, path).Close()
	for stream, format := range map[string]string{"": "auto", "1:2": "journal", "x": "auto"} {
		t.Setenv("JOURNAL_STREAM", stream)
		if dialJournal(config.Log{Format: format}, os.Stderr, path) != nil {
			t.Errorf("JOURNAL_STREAM=%q is taken for standard error", stream)
		}
	}
}

func listenJournal(t *testing.T, path string) *net.UnixConn {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func receive(t *testing.T, from *net.UnixConn) string {
	t.Helper()
	if err := from.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	entry := make([]byte, 1<<16)
	n, err := from.Read(entry)
	if err != nil {
		t.Fatal(err)
	}
	return string(entry[:n])
}
