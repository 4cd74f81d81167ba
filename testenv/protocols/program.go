package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"swerve/testenv/netns"
	"swerve/testenv/programs"
)

// programProtocols lists those that programs of Debian speak.
func programProtocols() []protocol {
	return slices.Concat(sshProtocols, curlProtocols, iperfProtocols, []protocol{
		{name: "MQTT subscriber: mosquitto", promise: reset, start: startSubscriber},
		{name: "MQTT subscriber: mosquitto, on the gateway", promise: reset, atGateway: true, start: startSubscriber},
	}, tunnelProtocols)
}

// packages have the programs; they are downloaded, and not installed.
var packages = []string{"openssh-server", "openssh-client", "nginx", "curl", "iperf3", "mosquitto", "mosquitto-clients", "wireguard-go", "wireguard-tools"}

// unpacked is the packages' folder.
var unpacked = sync.OnceValues(func() (string, error) { return programs.Unpack(packages...) })

// places are where programs run in a scene, by their namespace. They are made when the
// first program of each is started, in the order of the protocols.
type places map[*netns.NS]*programs.Place

func (all places) close() {
	for _, p := range all {
		p.Close()
	}
}

// place returns that of a namespace.
func (s *scene) place(ns *netns.NS) (*programs.Place, error) {
	if p := s.places[ns]; p != nil {
		return p, nil
	}
	folder, err := unpacked()
	if err != nil {
		return nil, err
	}
	p, err := programs.Open(ns, folder)
	if err != nil {
		return nil, err
	}
	if s.places == nil {
		s.places = places{}
	}
	s.places[ns] = p
	return p, nil
}

// runIn runs a script in the place of a namespace, to its end.
func (s *stage) runIn(ns *netns.NS, script string) error {
	p, err := s.scene.place(ns)
	if err != nil {
		return err
	}
	if out, err := p.Run(script); err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(out))
	}
	return nil
}

// serve runs a program on the server's side, by a script that ends with exec, until the
// session ends.
func (s *stage) serve(script string) error { return s.keep(s.server, script) }

// keep runs a program in the place of a namespace until the session ends. Should it end
// by itself, trouble says why.
func (s *stage) keep(ns *netns.NS, script string) error {
	p, err := s.scene.place(ns)
	if err != nil {
		return err
	}
	said := new(tail)
	cmd := p.Command(script)
	cmd.Stdout, cmd.Stderr = said, said
	return s.start(ns, cmd, func(err error) { s.note(fmt.Errorf("%w: %s", err, said)) })
}

// note keeps why a program has ended, for trouble.
func (s *stage) note(err error) { fmt.Fprintln(&s.notes, err) }

// trouble is what programs of a session that does not flow have written.
func (s *stage) trouble() string { return s.notes.String() }

// use is what a session does with a program: it writes to it, and reads what it writes
// until its end.
type use func(in io.Writer, out io.Reader)

// stayRunning runs a program on the client's side, by a script that ends with exec, again
// and again until the session ends. Its first words say that it has connected; when it ends
// after them, the connection has broken.
func (s *stage) stayRunning(script string, with use) error {
	return s.repeat(s.client, func(p *programs.Place) { s.connectOnce(p, script, with) })
}

// repeat calls run for the place of a namespace, again and again until the session ends.
func (s *stage) repeat(ns *netns.NS, run func(*programs.Place)) error {
	p, err := s.scene.place(ns)
	if err != nil {
		return err
	}
	s.run(func() {
		for !s.over() {
			run(p)
			s.pause(dialPause)
		}
	})
	return nil
}

// connectOnce runs a client until its connection breaks, or cannot be made.
func (s *stage) connectOnce(p *programs.Place, script string, with use) {
	var first *firstWords
	err := s.runOnce(s.ctx, p, script, func(in io.Writer, out io.Reader) {
		first = &firstWords{Reader: out, heard: s.connected}
		with(in, first)
	})
	switch {
	case s.over():
	case first != nil && first.some:
		s.broke(err)
	default:
		s.note(err)
	}
}

// runOnce runs a program in a place to its end, or kills it when ctx ends. The error is the
// last line that it wrote to standard error.
func (s *stage) runOnce(ctx context.Context, p *programs.Place, script string, with use) error {
	said := new(tail)
	cmd := p.Command(script)
	cmd.Stderr = said
	cmd.WaitDelay = time.Second
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := p.Start(cmd); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() {
		_ = cmd.Process.Kill()
		_ = out.Close()
	})
	defer stop()
	with(in, out)
	err = cmd.Wait()
	if last := said.lastLine(); last != "" {
		return errors.New(last)
	}
	return fmt.Errorf("the program has ended: %v", err)
}

// firstWords calls heard when something is read for the first time.
type firstWords struct {
	io.Reader
	heard func()
	some  bool
}

func (f *firstWords) Read(b []byte) (int, error) {
	n, err := f.Reader.Read(b)
	if n > 0 && !f.some {
		f.some = true
		f.heard()
	}
	return n, err
}

// listening is a use that only reads.
func listening(t *track) use {
	return func(_ io.Writer, out io.Reader) {
		buf := make([]byte, 64<<10)
		for {
			if _, err := out.Read(buf); err != nil {
				return
			}
			t.heard()
		}
	}
}

// eachLine is a use that calls a function for each line that the program writes.
func eachLine(fn func(string)) use {
	return func(_ io.Writer, out io.Reader) {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			fn(lines.Text())
		}
	}
}

// tail keeps the end of what is written.
type tail struct {
	mu   sync.Mutex
	text string
}

const tailLen = 4096

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text += string(b)
	t.text = t.text[max(0, len(t.text)-tailLen):]
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text
}

// lastLine is the last line that is not empty.
func (t *tail) lastLine() string {
	text := strings.TrimSpace(t.String())
	return strings.TrimSpace(text[strings.LastIndexByte(text, '\n')+1:])
}

// programInterval is the time between two words of programs.
const programInterval = 100 * time.Millisecond
