package main

import (
	"fmt"
	"io"
	"time"
)

var sshProtocols = []protocol{
	{name: "ssh, a log to look at", promise: reset, start: startLog},
	{name: "ssh, idle", promise: reset, start: startIdle},
}

// startLog has a client that says nothing look at a log, which never ends.
func startLog(s *stage) error {
	t := s.track(programInterval)
	return s.startSSH("-T", "while sleep 0.1; do date; done", listening(t))
}

// idleTime is how long after the event a person presses a key in an idle session.
const idleTime = 2 * time.Second

// startIdle has a session with a terminal in which nothing happens until after the event:
// then a key is pressed, and has to be echoed.
func startIdle(s *stage) error {
	t := s.track(programInterval)
	t.idle = true
	keyboards := make(chan io.Writer, 1) // that of the session that is open
	s.run(func() {
		select {
		case <-s.happened:
		case <-s.ctx.Done():
		}
		if s.pause(idleTime) {
			t.ask()
			_, _ = io.WriteString(<-keyboards, "x") // that a session has ended is counted
		}
	})
	return s.startSSH("-tt", "echo ready; exec cat", func(in io.Writer, out io.Reader) {
		select {
		case <-keyboards:
		default:
		}
		keyboards <- in
		listening(t)(in, out)
	})
}

// startSSH starts a server, and a client that runs a command there. The key of a server is
// that of its client as well.
func (s *stage) startSSH(terminal, command string, with use) error {
	place, err := s.scene.place(s.server)
	if err != nil {
		return err
	}
	const key = "/run/ssh-key"
	if err := s.runIn(s.server, "test -e "+key+" || ssh-keygen -q -t ed25519 -N '' -f "+key); err != nil {
		return err
	}
	private, err := place.Run("cat " + key)
	if err != nil {
		return err
	}
	if err := s.runIn(s.client, fmt.Sprintf("umask 077; cat >%s <<'END'\n%sEND\n", key, private)); err != nil {
		return err
	}
	err = s.serve(fmt.Sprintf("exec /usr/sbin/sshd -D -e -f /dev/null -p %d -h %s -o AuthorizedKeysFile=%s.pub -o PidFile=none "+
		"-o StrictModes=no -o PermitRootLogin=yes -o UsePAM=no -o TCPKeepAlive=no -o MaxStartups=100", s.at.Port(), key, key))
	if err != nil {
		return err
	}
	return s.stayRunning(fmt.Sprintf("exec ssh %s -F none -i %s -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null "+
		"-o LogLevel=ERROR -o ConnectTimeout=3 -p %d root@%s '%s'", terminal, key, s.at.Port(), s.at.Addr(), command), with)
}
