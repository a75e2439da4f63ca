/** @file Icons of the extension as LabIcons, so that themes colour them. */
import { LabIcon } from '@jupyterlab/ui-components';
import banSvg from '../style/icons/ban.svg';
import drainSvg from '../style/icons/drain.svg';
import inviteSvg from '../style/icons/invite.svg';
import logoSvg from '../style/icons/logo.svg';
import pauseSvg from '../style/icons/pause.svg';
import ravenSvg from '../style/icons/raven.svg';

/** The mark in one colour: side bar, status bar. */
export const ravenIcon = new LabIcon({ name: 'ravenlab:raven', svgstr: ravenSvg });
/** The mark in colour: launcher, empty states. */
export const logoIcon = new LabIcon({ name: 'ravenlab:logo', svgstr: logoSvg });
export const inviteIcon = new LabIcon({ name: 'ravenlab:invite', svgstr: inviteSvg });
export const drainIcon = new LabIcon({ name: 'ravenlab:drain', svgstr: drainSvg });
export const pauseIcon = new LabIcon({ name: 'ravenlab:pause', svgstr: pauseSvg });
export const banIcon = new LabIcon({ name: 'ravenlab:ban', svgstr: banSvg });
