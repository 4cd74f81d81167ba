package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"swerve/config"
)

// journalSocket is where journald takes entries with fields, as datagrams.
const journalSocket = "/run/systemd/journal/socket"

// journalFields are the attributes of a line that are fields of its entry as well,
// by their names in upper case, so that "journalctl -u swerve UPLINK=lte" finds it.
var journalFields = []string{"event", "uplink", "policy", "family", "reason"}

// journalSink is journald's socket as a writer: each write is one entry. It is used
// from the log's queue alone, so that a journal that stands still delays nobody.
type journalSink struct {
	conn *net.UnixConn
	addr *net.UnixAddr
	// instead takes the lines of entries that the socket does not take.
	instead io.Writer
}

// dialJournal returns the journal, or nil where standard error is not the journal or
// the socket does not exist.
func dialJournal(c config.Log, stderr io.Writer, path string) *journalSink {
	file, ok := stderr.(*os.File)
	if !ok || c.Format != "auto" && c.Format != "journal" || !isJournal(file, os.Getenv("JOURNAL_STREAM")) {
		return nil
	}
	if _, err := os.Stat(path); err != nil {
		return nil
	}
	// Unconnected: it goes on when journald is restarted.
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram"})
	if err != nil {
		return nil
	}
	return &journalSink{conn: conn, addr: &net.UnixAddr{Name: path, Net: "unixgram"}, instead: stderr}
}

// isJournal reports whether a file is the stream DEVICE:INODE that systemd has
// connected with the journal, see systemd.exec(5).
func isJournal(file *os.File, stream string) bool {
	info, err := file.Stat()
	if err != nil {
		return false
	}
	s, ok := info.Sys().(*syscall.Stat_t)
	return ok && stream == fmt.Sprintf("%d:%d", s.Dev, s.Ino)
}

// Write implements io.Writer.
func (j *journalSink) Write(entry []byte) (int, error) {
	if _, err := j.conn.WriteToUnix(entry, j.addr); err != nil {
		if _, err := fmt.Fprintf(j.instead, "%s\n", messageOf(entry)); err != nil {
			return 0, err
		}
	}
	return len(entry), nil
}

// messageOf returns the line that journald makes of an entry's message, with its
// priority in front.
func messageOf(entry []byte) string {
	text, priority := "", "6"
	for line := range strings.Lines(string(entry)) {
		line = strings.TrimSuffix(line, "\n")
		if value, found := strings.CutPrefix(line, "MESSAGE="); found {
			text = value
		}
		if value, found := strings.CutPrefix(line, "PRIORITY="); found {
			priority = value
		}
	}
	return "<" + priority + ">" + text
}

// entryHandler writes each record as an entry of the journal's native protocol. The
// message is the line of the text format without time and level, which the entry has
// by itself.
type entryHandler struct {
	text slog.Handler
	out  *entryWriter
	// with are the fields of attributes that were added by WithAttrs.
	with []slog.Attr
	// grouped: further attributes belong to a group, and are no fields.
	grouped bool
}

// entryWriter is shared by a handler and those derived from it.
type entryWriter struct {
	mu   sync.Mutex
	w    io.Writer
	line bytes.Buffer
}

func newEntryHandler(w io.Writer, options *slog.HandlerOptions) slog.Handler {
	out := &entryWriter{w: w}
	return &entryHandler{text: slog.NewTextHandler(&out.line, withoutTime(options)), out: out}
}

// Enabled implements slog.Handler.
func (h *entryHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.text.Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (h *entryHandler) Handle(ctx context.Context, r slog.Record) error {
	h.out.mu.Lock()
	defer h.out.mu.Unlock()
	h.out.line.Reset()
	if err := h.text.Handle(ctx, r); err != nil {
		return err
	}
	var entry bytes.Buffer
	field(&entry, "MESSAGE", strings.TrimSuffix(h.out.line.String(), "\n"))
	field(&entry, "PRIORITY", strconv.Itoa(severity(r.Level)))
	field(&entry, "SYSLOG_IDENTIFIER", "swerve")
	for _, a := range h.with {
		attrField(&entry, a)
	}
	if !h.grouped {
		r.Attrs(func(a slog.Attr) bool { attrField(&entry, a); return true })
	}
	_, err := h.out.w.Write(entry.Bytes())
	return err
}

func attrField(entry *bytes.Buffer, a slog.Attr) {
	for _, name := range journalFields {
		if a.Key == name {
			field(entry, strings.ToUpper(name), a.Value.Resolve().String())
		}
	}
}

// field writes a field; one with a line break is preceded by its size.
func field(entry *bytes.Buffer, name, value string) {
	if !strings.Contains(value, "\n") {
		fmt.Fprintf(entry, "%s=%s\n", name, value)
		return
	}
	fmt.Fprintf(entry, "%s\n%s%s\n", name, binary.LittleEndian.AppendUint64(nil, uint64(len(value))), value)
}

// WithAttrs implements slog.Handler.
func (h *entryHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	derived := *h
	derived.text = h.text.WithAttrs(attrs)
	if !h.grouped {
		derived.with = append(h.with[:len(h.with):len(h.with)], attrs...)
	}
	return &derived
}

// WithGroup implements slog.Handler.
func (h *entryHandler) WithGroup(name string) slog.Handler {
	derived := *h
	derived.text, derived.grouped = h.text.WithGroup(name), h.grouped || name != ""
	return &derived
}
