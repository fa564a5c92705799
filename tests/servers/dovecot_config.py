"""The settings of the tests' Dovecot, for 2.3 and for 2.4 (which speaks another configuration language).

All of it runs as one ordinary user, hence no chroots; nothing is synced to disk; nothing limits how often one
user may connect.
"""

from collections.abc import Mapping

COMMON = """
base_dir = {home}/run
state_dir = {home}/state
log_path = {home}/log
protocols = imap
listen = {host}
ssl = yes
mail_uid = {owner}
mail_gid = {group}
first_valid_uid = 1
default_internal_user = {owner}
default_internal_group = {group}
default_login_user = {owner}
mail_fsync = never
mail_max_userip_connections = 10000
auth_failure_delay = 0 secs
auth_mechanisms = {mechanisms}
{folders_of_programs}
service auth {{
  client_limit = 5000
}}
service anvil {{
  client_limit = 5000
  chroot =
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service stats {{
  chroot =
}}
service imap-login {{
  chroot =
  process_min_avail = 1
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = {tls_port}
    ssl = yes
  }}
}}
"""

FOR_2_3 = """
import_environment = TZ LD_LIBRARY_PATH={libraries}
disable_plaintext_auth = no
ssl_cert = <{certificate}
ssl_key = <{key}
mail_location = maildir:~/folders:LAYOUT=fs:UTF-8:INBOX=~/inbox
protocol imap {{
  mail_plugins = imap_zlib
}}
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid={owner} gid={group} home={home}/mail/%u
}}
service imap-login {{
  service_count = 0
}}
service imap {{
  process_limit = 2000
  service_count = 256
}}
"""

FOR_2_4 = """
dovecot_config_version = {config_version}
dovecot_storage_version = {config_version}
import_environment {{
  LD_LIBRARY_PATH = {libraries}
}}
auth_allow_cleartext = yes
ssl_server_cert_file = {certificate}
ssl_server_key_file = {key}
mail_driver = maildir
mail_home = {home}/mail/%{{user}}
mail_path = ~/folders
mail_inbox_path = ~/inbox
mailbox_list_layout = fs
mailbox_list_utf8 = yes
passdb static {{
  password = {password}
}}
userdb static {{
  fields {{
    uid = {owner}
    gid = {group}
    home = {home}/mail/%{{user}}
  }}
}}
service imap-login {{
  restart_request_count = unlimited
}}
service imap {{
  process_limit = 2000
  restart_request_count = 256
}}
"""

FOLDERS = """
namespace inbox {
  inbox = yes
  separator = /
  mailbox Sent {
    auto = create
    special_use = \\Sent
  }
  mailbox Drafts {
    auto = create
    special_use = \\Drafts
  }
  mailbox Trash {
    auto = create
    special_use = \\Trash
  }
  mailbox Archive {
    special_use = \\Archive
  }
  mailbox Junk {
    special_use = \\Junk
  }
}
"""

BEARING_2_3 = """
auth_mechanisms = plain login xoauth2 oauthbearer
passdb {{
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = {home}/oauth2.conf
}}
"""

BEARING_2_4 = """
auth_mechanisms = plain login xoauth2 oauthbearer
oauth2 {{
{bearing}
}}
"""

UNPACKED = """
libexec_dir = {root}/usr/lib/dovecot
mail_plugin_dir = {root}/usr/lib/dovecot/modules
login_plugin_dir = {root}/usr/lib/dovecot/modules/login
"""


def settings(version: tuple[int, ...], values: Mapping[str, object], root: str | None) -> str:
    """The whole configuration file. `root` is where Dovecot was unpacked, None for an installed one.

    With a value `bearing` it takes access tokens, and asks about them as these settings of `oauth2` say.
    """
    programs = UNPACKED.format(root=root) if root else ""
    common = COMMON.format(**values, folders_of_programs=programs) + FOLDERS
    if values.get("bearing"):
        common += (BEARING_2_3 if version < (2, 4) else BEARING_2_4).format(**values)
    if version < (2, 4):
        return common + FOR_2_3.format(**values)
    # 2.4 wants its version first.
    return FOR_2_4.format(**values, config_version=".".join(map(str, version))) + common
