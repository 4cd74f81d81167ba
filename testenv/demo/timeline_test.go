package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"
)

func TestTimelineIsRecorded(t *testing.T) {
	broken := errors.New("ended early")
	for _, c := range []struct {
		name, told string
		end        func(timeline)
		want       string
	}{
		{"well", "an act\n", func(l timeline) { l.close(nil) }, "<nil>"},
		{"failed", "half an act\n", func(l timeline) { l.close(broken) }, "ended early"},
		{"killed", "half an act\n", func(l timeline) { l.conn.Close() }, "the demo in tmux was killed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "s")
			r, err := listen(path)
			if err != nil {
				t.Fatal(err)
			}
			l, err := openTimeline(path)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprint(l, c.told)
			c.end(l)
			<-r.done
			if text, err := r.await(); text != c.told || fmt.Sprint(err) != c.want {
				t.Errorf("recorded %q, %v; want %q, %s", text, err, c.told, c.want)
			}
		})
	}
}

// Where tmux did not get as far as to start the demo, nobody waits for it.
func TestNobodyCame(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	r, err := listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := r.await(); text != "" || err == nil {
		t.Errorf("%q, %v; want an error", text, err)
	}
	if _, err := openTimeline(path); err == nil {
		t.Error("a demo that comes late is told nothing")
	}
}
