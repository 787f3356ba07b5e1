/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A whole configuration, as an operator writes it; and what the config tests share. */
#ifndef MILLRACE_TESTS_UNIT_CONFIG_EXAMPLE_H
#define MILLRACE_TESTS_UNIT_CONFIG_EXAMPLE_H

#define EXAMPLE_SYSTEM                                                  \
	"system { hostname relay.example.net; workers 2; memory 512m; " \
	"tcp { ecn active; keepalive 2h; } }\n"
#define EXAMPLE_PORTS                                                                           \
	"port inside { device \"net_af_packet0,iface=mrp0,qpairs=2\"; address 192.0.2.10/24;\n" \
	"    address 2001:db8:1::10/64 { vlan 7; } route 0.0.0.0/0 192.0.2.1;\n"                \
	"    route ::/0 2001:db8:1::1; }\n"                                                     \
	"port outside { device 0000:3b:00.0; mtu 9000; address 198.51.100.10/24;\n"             \
	"    address 2001:db8:2::10/64; route 0.0.0.0/0 198.51.100.1; }\n"
#define EXAMPLE_CERTIFICATE "certificate default { self-signed; }\n"
#define EXAMPLE_LISTENER                                                                     \
	"listener submission { address 192.0.2.10; tcp-port 25; certificate default;\n"      \
	"    relay-from [ 192.0.2.0/24 2001:db8:1::/64 ]; trusted-headers-from 192.0.2.7;\n" \
	"    tenant acme; campaign spring; pool main; long-lines accept;\n"                  \
	"    limits { message-size 50m; command-timeout 5m; } }\n"
#define EXAMPLE_SOURCES                                                                 \
	"source out1 { port outside; address 198.51.100.10; address6 2001:db8:2::10;\n" \
	"    ehlo-name out1.example.net; }\n"                                           \
	"source out2 { port outside; address 198.51.100.10; }\n"                        \
	"pool main { source out1 { weight 3; } source out2; }\n"
#define EXAMPLE_DESTINATIONS                                                   \
	"destination default { connections 7; timeouts { connect 11s; } }\n"   \
	"destination .example.com { messages-per-connection 5; }\n"            \
	"destination mail.Example.COM { tls encrypt; hosts [ mx1.example.com " \
	"\"[203.0.113.9]:2525\" ]; }\n"
#define EXAMPLE_REST                                                                                 \
	"retry { initial 5m; max 4h; factor 1.5; jitter 10%; postmaster postmaster@example.net; }\n" \
	"spool { directory /var/spool/millrace; size 4g; body-memory 64m; }\n"                       \
	"resolver { stub-zone example.net { server [ 203.0.113.53 203.0.113.54@5353 ]; }\n"          \
	"    forwarder 203.0.113.53; trust-anchor \". DS 20326 8 2 E06D44B8\"; timeout 30s; }\n"

#define EXAMPLE                                                                           \
	EXAMPLE_SYSTEM EXAMPLE_PORTS EXAMPLE_CERTIFICATE EXAMPLE_LISTENER EXAMPLE_SOURCES \
		EXAMPLE_DESTINATIONS EXAMPLE_REST

#endif
