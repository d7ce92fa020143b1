# Copyright: samefiles.aws contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""For every role: check mode reports no change on hosts that are converged."""

from __future__ import annotations


def test_check_mode_finds_nothing_left_to_do(checked_again):
    assert checked_again
    assert {name: (result.changed, result.failure) for name, result in checked_again.items()} == dict.fromkeys(
        checked_again, (0, "")
    )
