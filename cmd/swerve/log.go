package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"

	"swerve/config"
	"swerve/daemon"
)

// newLogQueue returns the queue of the daemon's log, and the log: entries with fields
// where standard error is the journal, lines on standard error elsewhere.
func newLogQueue(stderr io.Writer, c config.Log) (*daemon.LogQueue, *slog.Logger) {
	if sink := dialJournal(c, stderr, journalSocket); sink != nil {
		queue := daemon.NewLogQueue(sink)
		return queue, slog.New(newEntryHandler(queue, &slog.HandlerOptions{Level: levelOf(c.Level)}))
	}
	queue := daemon.NewLogQueue(stderr)
	return queue, newLogger(queue, c)
}

// newLogger makes a log of lines. Format auto means the journal's format, with
// priorities, where standard error may be the journal, and text elsewhere.
func newLogger(w io.Writer, c config.Log) *slog.Logger {
	options := &slog.HandlerOptions{Level: levelOf(c.Level)}
	format := c.Format
	if format == "auto" {
		format = "text"
		if os.Getenv("JOURNAL_STREAM") != "" {
			format = "journal"
		}
	}
	switch format {
	case "json":
		return slog.New(slog.NewJSONHandler(w, options))
	case "journal":
		return slog.New(newJournalHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

func levelOf(word string) slog.Level {
	var level slog.Level
	if err := level.UnmarshalText([]byte(word)); err != nil {
		return slog.LevelInfo // the configuration is valid, so this is not reached
	}
	return level
}

// journalHandler writes text lines with the priority that sd-daemon(3) defines
// in front, and without the time, which the journal knows.
type journalHandler struct {
	text slog.Handler
	out  *journalWriter
}

// journalWriter is shared by a handler and those derived from it. The text
// handler writes one whole line at a time into line.
type journalWriter struct {
	mu   sync.Mutex
	w    io.Writer
	line bytes.Buffer
}

func newJournalHandler(w io.Writer, options *slog.HandlerOptions) slog.Handler {
	out := &journalWriter{w: w}
	text := slog.NewTextHandler(&out.line, withoutTime(options))
	return &journalHandler{text: text, out: out}
}

// withoutTime returns options for lines without their time and level.
func withoutTime(options *slog.HandlerOptions) *slog.HandlerOptions {
	return &slog.HandlerOptions{
		Level: options.Level,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey) {
				return slog.Attr{}
			}
			return a
		},
	}
}

// Enabled implements slog.Handler.
func (h *journalHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.text.Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (h *journalHandler) Handle(ctx context.Context, r slog.Record) error {
	h.out.mu.Lock()
	defer h.out.mu.Unlock()
	h.out.line.Reset()
	h.out.line.WriteString(priority(r.Level))
	if err := h.text.Handle(ctx, r); err != nil {
		return err
	}
	_, err := h.out.w.Write(h.out.line.Bytes())
	return err
}

// WithAttrs implements slog.Handler.
func (h *journalHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &journalHandler{text: h.text.WithAttrs(attrs), out: h.out}
}

// WithGroup implements slog.Handler.
func (h *journalHandler) WithGroup(name string) slog.Handler {
	return &journalHandler{text: h.text.WithGroup(name), out: h.out}
}

// priority is a level as sd-daemon(3) puts it in front of a line.
func priority(level slog.Level) string { return fmt.Sprintf("<%d>", severity(level)) }

// severity is a level as syslog(3) numbers it.
func severity(level slog.Level) int {
	switch {
	case level >= slog.LevelError:
		return 3
	case level >= slog.LevelWarn:
		return 4
	case level >= slog.LevelInfo:
		return 6
	}
	return 7
}
