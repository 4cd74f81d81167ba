package main

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"swerve/testenv/programs"
)

// startSubscriber has a client hear from a broker what another one publishes in the
// internet. It connects again by itself.
func startSubscriber(s *stage) error {
	config := fmt.Sprintf("/run/mosquitto-%d-%s", s.at.Port(), s.family)
	text := fmt.Sprintf("listener %d %s\nallow_anonymous true\nuser root\npersistence false\nlog_dest none\n", s.at.Port(), s.at.Addr())
	if err := s.runIn(s.server, fmt.Sprintf("cat >%s <<'END'\n%sEND\n", config, text)); err != nil {
		return err
	}
	if err := s.serve("exec mosquitto -c " + config); err != nil {
		return err
	}
	t := s.track(programInterval)
	if err := s.publish(t); err != nil {
		return err
	}
	connected := false
	listen := fmt.Sprintf("exec mosquitto_sub -d -h %s -p %d -t news", s.at.Addr(), s.at.Port())
	hear := eachLine(func(line string) {
		switch seq, err := strconv.ParseUint(line, 10, 32); {
		case err == nil:
			t.arrived(uint32(seq))
		case strings.Contains(line, "received CONNACK"):
			if connected {
				s.broke(errors.New("the subscriber has connected again"))
			}
			connected = true
			s.connected()
		}
	})
	return s.repeat(s.client, func(p *programs.Place) { s.note(s.runOnce(s.ctx, p, listen, hear)) })
}

// publish has a program publish numbers.
func (s *stage) publish(t *track) error {
	tell := func(in io.Writer, _ io.Reader) {
		s.each(programInterval, func() bool {
			_, err := fmt.Fprintln(in, t.sent())
			return err == nil
		})
	}
	publish := fmt.Sprintf("exec mosquitto_pub -h %s -p %d -t news -l", s.at.Addr(), s.at.Port())
	return s.repeat(s.server, func(p *programs.Place) { s.note(s.runOnce(s.ctx, p, publish, tell)) })
}
