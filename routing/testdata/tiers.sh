ip -4 route replace default table 5301 proto 83 metric 1 via inet6 fe80::1 dev wan0 onlink
ip -4 route replace default table 5302 proto 83 metric 1 dev ppp0
ip -4 route replace default table 5303 proto 83 metric 1 via 192.0.2.1 dev 'we'\''ird$' onlink
ip -4 route replace default table 5364 proto 83 metric 0 nexthop via inet6 fe80::1 dev wan0 onlink weight 3 nexthop dev ppp0 weight 2 nexthop via 192.0.2.1 dev 'we'\''ird$' onlink weight 1
ip -4 route add default table main proto 83 metric 4278250081 nexthop via inet6 fe80::1 dev wan0 onlink weight 3 nexthop dev ppp0 weight 2 nexthop via 192.0.2.1 dev 'we'\''ird$' onlink weight 1
ip -6 route replace default table 5301 proto 83 metric 1 via fe80::1 dev wan0 onlink
ip -6 route replace default table 5302 proto 83 metric 1 dev ppp0
ip -6 route replace default table 5303 proto 83 metric 1 via 2001:db8:3::1 dev 'we'\''ird$' onlink
ip -6 route replace default table 5364 proto 83 metric 1 nexthop via fe80::1 dev wan0 onlink weight 3 nexthop via 2001:db8:3::1 dev 'we'\''ird$' onlink weight 1
ip -6 route add default table main proto 83 metric 4278243080 nexthop via fe80::1 dev wan0 onlink weight 3 nexthop via 2001:db8:3::1 dev 'we'\''ird$' onlink weight 1
ip -4 route replace default table 5364 proto 83 metric 2 via 192.0.2.1 dev 'we'\''ird$' onlink
ip -4 route add default table main proto 83 metric 4278250082 via 192.0.2.1 dev 'we'\''ird$' onlink
ip -6 route replace default table 5364 proto 83 metric 2 dev ppp0
ip -6 route add default table main proto 83 metric 4278243081 dev ppp0
ip -6 route replace default table 5364 proto 83 metric 3 via 2001:db8:3::1 dev 'we'\''ird$' onlink
ip -6 route add default table main proto 83 metric 4278243082 via 2001:db8:3::1 dev 'we'\''ird$' onlink
ip -4 rule add pref 5300 lookup main suppress_prefixlength 1 protocol 83
ip -4 rule add pref 5301 fwmark 0x01000000/0x7f000000 lookup 5301 protocol 83
ip -4 rule add pref 5302 fwmark 0x02000000/0x7f000000 lookup 5302 protocol 83
ip -4 rule add pref 5303 fwmark 0x03000000/0x7f000000 lookup 5303 protocol 83
ip -4 rule add pref 5304 fwmark 0x04000000/0x7f000000 lookup 5304 protocol 83
ip -4 rule add pref 5305 fwmark 0x05000000/0x7f000000 lookup 5305 protocol 83
ip -4 rule add pref 5364 fwmark 0x40000000/0x7f000000 lookup 5364 protocol 83
ip -4 rule add pref 5451 from 203.0.113.2 fwmark 0/0xffffffff lookup 5301 protocol 83
ip -4 rule add pref 5452 from 198.51.100.2 fwmark 0/0xffffffff lookup 5302 protocol 83
ip -4 rule add pref 5453 from 192.0.2.2 fwmark 0/0xffffffff lookup 5303 protocol 83
ip -4 rule add pref 5551 oif wan0 lookup 5301 protocol 83
ip -4 rule add pref 5552 oif ppp0 lookup 5302 protocol 83
ip -4 rule add pref 5553 oif 'we'\''ird$' lookup 5303 protocol 83
ip -4 rule add pref 5554 oif gone0 lookup 5304 protocol 83
ip -4 rule add pref 5651 oif wan0 protocol 83 unreachable
ip -4 rule add pref 5652 oif ppp0 protocol 83 unreachable
ip -4 rule add pref 5653 oif 'we'\''ird$' protocol 83 unreachable
ip -4 rule add pref 5654 oif gone0 protocol 83 unreachable
ip -4 rule add pref 32764 lookup main suppress_prefixlength 0 protocol 83
ip -4 rule add pref 32765 lookup 5364 protocol 83
ip -6 rule add pref 5300 lookup main suppress_prefixlength 1 protocol 83
ip -6 rule add pref 5301 fwmark 0x01000000/0x7f000000 lookup 5301 protocol 83
ip -6 rule add pref 5302 fwmark 0x02000000/0x7f000000 lookup 5302 protocol 83
ip -6 rule add pref 5303 fwmark 0x03000000/0x7f000000 lookup 5303 protocol 83
ip -6 rule add pref 5304 fwmark 0x04000000/0x7f000000 lookup 5304 protocol 83
ip -6 rule add pref 5305 fwmark 0x05000000/0x7f000000 lookup 5305 protocol 83
ip -6 rule add pref 5364 fwmark 0x40000000/0x7f000000 lookup 5364 protocol 83
ip -6 rule add pref 5451 from 2001:db8:1::2 fwmark 0/0xffffffff lookup 5301 protocol 83
ip -6 rule add pref 5452 from 2001:db8:2::2 fwmark 0/0xffffffff lookup 5302 protocol 83
ip -6 rule add pref 5453 from 2001:db8:3::2 fwmark 0/0xffffffff lookup 5303 protocol 83
ip -6 rule add pref 5551 oif wan0 lookup 5301 protocol 83
ip -6 rule add pref 5552 oif ppp0 lookup 5302 protocol 83
ip -6 rule add pref 5553 oif 'we'\''ird$' lookup 5303 protocol 83
ip -6 rule add pref 5554 oif gone0 lookup 5304 protocol 83
ip -6 rule add pref 5651 oif wan0 protocol 83 unreachable
ip -6 rule add pref 5652 oif ppp0 protocol 83 unreachable
ip -6 rule add pref 5653 oif 'we'\''ird$' protocol 83 unreachable
ip -6 rule add pref 5654 oif gone0 protocol 83 unreachable
ip -6 rule add pref 32764 lookup main suppress_prefixlength 0 protocol 83
ip -6 rule add pref 32765 lookup 5364 protocol 83
