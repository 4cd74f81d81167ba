ip -4 route replace default table 5364 proto 83 metric 1 via 198.51.100.1 dev wan1 onlink
ip -4 route replace default table 5364 proto 83 metric 2 via 203.0.113.1 dev wan0 onlink
ip -4 rule del pref 5451 from 203.0.113.2 fwmark 0/0xffffffff lookup 5301 protocol 83
