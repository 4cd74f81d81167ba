package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"
)

// endOfText parts what a demo in tmux has told from how it ended: an error's text,
// or nothing. Whoever is killed sends none.
const endOfText = "\x00"

// timeline is where the demo tells its story: standard output, and the process
// around the session in tmux where there is one.
type timeline struct {
	io.Writer
	conn net.Conn // nil: standard output alone
}

// openTimeline connects to the process that listens at a path; "" for none.
func openTimeline(path string) (timeline, error) {
	if path == "" {
		return timeline{Writer: os.Stdout}, nil
	}
	conn, err := net.Dial("unix", path)
	if err != nil {
		return timeline{}, fmt.Errorf("tell the timeline: %w", err)
	}
	return timeline{Writer: io.MultiWriter(os.Stdout, conn), conn: conn}, nil
}

// close tells how it ended.
func (t timeline) close(end error) {
	if t.conn == nil {
		return
	}
	text := ""
	if end != nil {
		text = end.Error()
	}
	_, _ = io.WriteString(t.conn, endOfText+text) // nobody is there: nobody to tell
	t.conn.Close()
}

// recording is the other end of a timeline.
type recording struct {
	listener *net.UnixListener
	text     string
	done     chan struct{} // closed when text is whole
}

// listen records the one timeline that is told to a socket.
func listen(path string) (*recording, error) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	r := &recording{listener: l, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		conn, err := l.Accept()
		if err != nil {
			return // closed before anybody came
		}
		defer conn.Close()
		text, _ := io.ReadAll(conn) // what came before an error counts
		r.text = string(text)
	}()
	return r, nil
}

func (r *recording) close() { r.listener.Close() }

// clearingUp is how long a demo may need that lost its terminal.
const clearingUp = 15 * time.Second

// await waits for the end of a demo whose terminal is gone, and returns what it
// told and its error.
func (r *recording) await() (text string, err error) {
	defer r.close()
	_ = r.listener.SetDeadline(time.Now().Add(time.Second)) // who has not come by then does not come
	select {
	case <-r.done:
	case <-time.After(clearingUp):
		return "", errors.New("the demo in tmux does not end")
	}
	text, end, whole := strings.Cut(r.text, endOfText)
	switch {
	case !whole:
		return text, errors.New("the demo in tmux was killed")
	case end != "":
		return text, errors.New(end)
	}
	return text, nil
}
