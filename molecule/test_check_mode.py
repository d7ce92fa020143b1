# Copyright: samefiles.aws contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds for every role: check mode has nothing to say about hosts that are converged."""

from __future__ import annotations


def test_check_mode_finds_nothing_left_to_do(checked_again):
    assert checked_again
    assert {name: (told.changed, told.failure) for name, told in checked_again.items()} == dict.fromkeys(
        checked_again, (0, "")
    )
