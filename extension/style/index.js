/** @file Loads the styles with the extension. */
import './panel.css';
