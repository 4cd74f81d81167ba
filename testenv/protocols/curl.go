package main

import "fmt"

var curlProtocols = []protocol{
	{name: "HTTP/1.1 download: curl from nginx", promise: reset, start: startCurl("", "--http1.1")},
	{name: "HTTP/2 download: curl from nginx", promise: reset, start: startCurl("http2", "--http2-prior-knowledge")},
}

// startCurl has a client download a file that is too long to end, at the pace that the
// server has for it.
func startCurl(listen, version string) func(*stage) error {
	return func(s *stage) error {
		folder := fmt.Sprintf("/run/%d-%s", s.at.Port(), s.family)
		config := fmt.Sprintf(`daemon off; master_process off; user root; pid %[1]s/pid; error_log stderr;
events {}
http {
	access_log off; sendfile off; output_buffers 1 4k;
	client_body_temp_path %[1]s; proxy_temp_path %[1]s; fastcgi_temp_path %[1]s; uwsgi_temp_path %[1]s; scgi_temp_path %[1]s;
	server { listen %[2]s %[3]s; root %[1]s; limit_rate 100k; }
}
`, folder, s.at, listen)
		if err := s.runIn(s.server, fmt.Sprintf("mkdir %[1]s; truncate -s 1G %[1]s/file; cat >%[1]s/conf <<'END'\n%[2]sEND\n", folder, config)); err != nil {
			return err
		}
		if err := s.serve(fmt.Sprintf("exec nginx -p %[1]s -c %[1]s/conf", folder)); err != nil {
			return err
		}
		t := s.track(programInterval)
		return s.stayRunning(fmt.Sprintf("exec curl -gsSN %s --connect-timeout 3 http://%s/file", version, s.at), listening(t))
	}
}
