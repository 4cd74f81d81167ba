package main

import (
	"context"
	"fmt"
	"io"
	"regexp"

	"swerve/testenv/programs"
)

var iperfProtocols = []protocol{
	{name: "TCP upload: iperf3", promise: reset, start: startIperfUpload},
	{name: "TCP download: iperf3", promise: reset, start: startIperfDownload},
}

// startIperfUpload has the server say what it receives.
func startIperfUpload(s *stage) error {
	return s.startIperf("", received(s.track(programInterval)), eachLine(func(string) {}))
}

// startIperfDownload has the client say what it receives.
func startIperfDownload(s *stage) error {
	return s.startIperf("-R", eachLine(func(string) {}), received(s.track(programInterval)))
}

// something is a line of iperf3 that says that in an interval more than nothing came.
var something = regexp.MustCompile(`sec +[0-9.]*[1-9][0-9.]* +[KMG]?Bytes`)

func received(t *track) use {
	return eachLine(func(line string) {
		if something.MatchString(line) {
			t.heard()
		}
	})
}

// startIperf has a client send, or receive, again and again. Each time there is a new
// server: one whose client was lost waits for it.
func (s *stage) startIperf(reverse string, atServer, atClient use) error {
	server, err := s.scene.place(s.server)
	if err != nil {
		return err
	}
	serve := fmt.Sprintf("exec iperf3 -s -1 -B %s -p %d -i 0.1 --forceflush", s.at.Addr(), s.at.Port())
	call := fmt.Sprintf("exec iperf3 -c %s -p %d %s -b 1M -l 2K -t 3600 -i 0.1 --forceflush --connect-timeout 3000", s.at.Addr(), s.at.Port(), reverse)
	return s.repeat(s.client, func(client *programs.Place) {
		ctx, end := context.WithCancel(s.ctx)
		listens, ended := make(chan struct{}), make(chan struct{})
		s.run(func() {
			defer close(ended)
			s.note(s.runOnce(ctx, server, serve, func(in io.Writer, out io.Reader) {
				atServer(in, &firstWords{Reader: out, heard: func() { close(listens) }})
			}))
		})
		select {
		case <-listens:
			s.connectOnce(client, call, atClient)
		case <-ended:
		}
		end()
		<-ended
	})
}
